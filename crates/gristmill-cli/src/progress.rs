//! Progress bars on standard error, when that is a terminal; nothing otherwise.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that counts bytes.
#[derive(Clone)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar for `total` bytes with a name before it. Hidden unless `shown`.
    pub fn bytes(name: &str, total: u64, shown: bool) -> Self {
        let target =
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        bar.set_style(
            ProgressStyle::with_template(style)
                .expect("the template is a constant")
                .progress_chars("=> "),
        );
        bar.set_prefix(name.to_owned());
        Self(bar)
    }

    /// A bar nobody sees.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// So many bytes more.
    pub fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Takes the bar away; the caller says how it ended.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}
