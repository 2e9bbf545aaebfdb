//! Where log lines go: standard error, as text for people or JSON for machines.

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging. `GRISTMILL_LOG` overrides the level (`debug`, `gristmill_server=trace`, …),
/// `GRISTMILL_LOG_FORMAT=json` makes every line an object.
pub fn start(default_level: &str) {
    let wished = std::env::var("GRISTMILL_LOG").unwrap_or_else(|_| default_level.to_owned());
    let filter = EnvFilter::try_new(&wished).unwrap_or_else(|error| {
        eprintln!("gristmill: GRISTMILL_LOG is ignored: {error}");
        EnvFilter::new(default_level)
    });
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::env::var("GRISTMILL_LOG_FORMAT").is_ok_and(|format| format == "json") {
        lines.json().init();
    } else {
        lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}
