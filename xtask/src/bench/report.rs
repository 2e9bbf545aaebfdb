//! The tables of `docs/benchmarks.md`, made from the raw data in `docs/bench/`, so that the page says
//! what was measured and nothing else.
//!
//! ```text
//! <!-- table: null -->      written by hand, once
//! | ... |                   written here, whenever something was measured
//! <!-- end -->
//! ```
//!
//! The rows, with the place of each figure in the raw data and the bar it has to reach, are in
//! [`tables`]. `cargo xtask tidy` fails when the page is older than the data.

mod tables;

use crate::house::House;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write as _, fs, process::ExitCode};
use tables::{Bar, Figure, Row, TABLES, Table};

use super::sums::Spread;

/// The page.
pub const PAGE: &str = "docs/benchmarks.md";
/// Where the raw data are.
const DATA: &str = "docs/bench/";
/// Behind a table.
const END: &str = "<!-- end -->";

/// Writes the tables of the page anew.
pub fn run(house: &House) -> Result<ExitCode> {
    let path = house.root.join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let read = |file: &str| {
        let path = house.root.join(DATA).join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let data = Data::read(read)?;
    fs::write(&path, render(&page, &data)?).with_context(|| format!("cannot write {PAGE}"))?;
    println!("written: {PAGE}");
    Ok(ExitCode::SUCCESS)
}

/// Whether the tables say what the raw data say; `sources` are the files of the repository.
pub fn check(sources: &BTreeMap<String, String>) -> Result<()> {
    let page = sources.get(PAGE).context("there is no such page")?;
    let read = |file: &str| {
        sources.get(&format!("{DATA}{file}")).cloned().with_context(|| format!("no {DATA}{file}"))
    };
    if render(page, &Data::read(read)?)? != *page {
        bail!("its tables are not those of the raw data: run `cargo xtask bench report`");
    }
    Ok(())
}

/// The raw data, by name of the file.
struct Data(BTreeMap<&'static str, Value>);

impl Data {
    fn read(read: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let files = TABLES.iter().flat_map(|table| table.rows).map(|row| row.file);
        let parsed = files.map(|file| {
            let value = serde_json::from_str(&read(file)?)
                .with_context(|| format!("{DATA}{file} is no JSON"))?;
            Ok((file, value))
        });
        parsed.collect::<Result<_>>().map(Self)
    }

    fn of(&self, row: &Row) -> &Value {
        &self.0[row.file]
    }
}

/// The page with its tables made anew. What is between a table's marks is replaced.
fn render(page: &str, data: &Data) -> Result<String> {
    let mut whole = page.to_owned();
    for table in TABLES {
        let mark = format!("<!-- table: {} -->\n", table.name);
        let begin =
            whole.find(&mark).with_context(|| format!("{PAGE} has no `{}`", mark.trim()))?;
        let begin = begin + mark.len();
        let length =
            whole[begin..].find(END).with_context(|| format!("no `{END}` after `{mark}`"))?;
        whole.replace_range(begin..begin + length, &table_text(table, data)?);
    }
    Ok(whole)
}

fn table_text(table: &Table, data: &Data) -> Result<String> {
    let mut text = "\n| | | bar | |\n|---|---|---|---|\n".to_owned();
    for row in table.rows {
        let figure = row
            .figure
            .of(data.of(row))
            .with_context(|| format!("{DATA}{} has no figure for `{}`", row.file, row.label))?;
        let Row { label, bar, .. } = row;
        writeln!(
            text,
            "| {label} | {} | {bar} | {} |",
            shown(row, figure),
            bar.met(figure.median)
        )?;
    }
    let mut files: Vec<&str> = table.rows.iter().map(|row| row.file).collect();
    files.dedup();
    for file in files {
        writeln!(text, "\n{}", origin(file, &data.0[file]))?;
    }
    text.push('\n');
    Ok(text)
}

fn shown(row: &Row, figure: Spread) -> String {
    let Spread { median, min, max } = figure;
    let number = |value| in_digits(value, row.digits);
    let range = match min == max {
        true => String::new(),
        false => format!(" ({} .. {})", number(min), number(max)),
    };
    format!("**{}**{range}", number(median))
}

/// With a comma at thousands.
fn in_digits(value: f64, digits: usize) -> String {
    let plain = format!("{value:.digits$}");
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut text = sign.to_owned();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// Which build was measured, and how.
fn origin(file: &str, data: &Value) -> String {
    let told = |name: &str| data["machine"][name].as_str().unwrap_or("unknown").to_owned();
    format!(
        "Raw data: [`bench/{file}`](bench/{file}); build `{}`, {}, scheduling {}, load before {}.",
        told("commit"),
        told("model"),
        told("scheduling"),
        told("load_before")
    )
}

impl Figure {
    /// Reads it out of the raw data. A figure without a range is its own range.
    fn of(&self, data: &Value) -> Option<Spread> {
        let number = |place: &str| data.pointer(place)?.as_f64();
        let alone = |value: f64| Spread { median: value, min: value, max: value };
        match self {
            Self::Spread(place) => Some(Spread {
                median: number(&format!("{place}/median"))?,
                min: number(&format!("{place}/min"))?,
                max: number(&format!("{place}/max"))?,
            }),
            Self::Number(place) => number(place).map(alone),
            Self::Multiple(figure, of) => Some(alone(number(figure)? / number(of)?)),
            Self::RoundsMultiple(figure, of) => {
                let (figures, units) = (in_rounds(data, figure)?, in_rounds(data, of)?);
                Spread::of(figures.into_iter().zip(units).map(|(figure, unit)| figure / unit))
            }
            Self::Difference(more, less) => Some(alone(number(more)? - number(less)?)),
            Self::Rounds(place) => Spread::of(in_rounds(data, place)?),
            Self::EachInstance(place) => {
                let each = 1e6 / number("/instances")?;
                Spread::of(in_rounds(data, place)?.into_iter().map(|seconds| seconds * each))
            }
            Self::Sum(place) => in_rounds(data, place).map(|all| alone(all.iter().sum())),
            Self::Largest(place, inside) => {
                let all = data.pointer(place)?.as_object()?.values();
                let all = all.map(|value| value.pointer(inside)?.as_f64());
                all.collect::<Option<Vec<_>>>()?.into_iter().reduce(f64::max).map(alone)
            }
            Self::Count(place) => Some(alone(data.pointer(place)?.as_array()?.len() as f64)),
        }
    }
}

/// A figure in each round.
fn in_rounds(data: &Value, place: &str) -> Option<Vec<f64>> {
    let rounds = data["rounds"].as_array()?;
    rounds.iter().map(|round| round.pointer(place)?.as_f64()).collect()
}

impl Bar {
    fn met(self, figure: f64) -> &'static str {
        let met = match self {
            Self::None => return "",
            Self::AtMost(bar, _) => figure <= bar,
            Self::AtLeast(bar) => figure >= bar,
        };
        if met { "met" } else { "**missed**" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_read_where_they_are() {
        let data = json!({
            "instances": 10,
            "all": {"median": 2.0, "min": 1.0, "max": 3.0},
            "pages": {"a": {"p99": 1.5}, "b": {"p99": 2.5}},
            "slow": [1, 2],
            "rounds": [{"s": 1.0, "of": 0.5}, {"s": 3.0, "of": 1.0}],
        });
        let spread = |median, min, max| Some(Spread { median, min, max });
        for (figure, wanted) in [
            (Figure::Spread("/all"), spread(2.0, 1.0, 3.0)),
            (Figure::Number("/all/max"), spread(3.0, 3.0, 3.0)),
            (Figure::Multiple("/all/max", "/all/median"), spread(1.5, 1.5, 1.5)),
            (Figure::RoundsMultiple("/s", "/of"), spread(2.5, 2.0, 3.0)),
            (Figure::Difference("/all/max", "/all/min"), spread(2.0, 2.0, 2.0)),
            (Figure::Rounds("/s"), spread(2.0, 1.0, 3.0)),
            (Figure::EachInstance("/s"), spread(2e5, 1e5, 3e5)),
            (Figure::Sum("/s"), spread(4.0, 4.0, 4.0)),
            (Figure::Largest("/pages", "/p99"), spread(2.5, 2.5, 2.5)),
            (Figure::Count("/slow"), spread(2.0, 2.0, 2.0)),
            (Figure::Number("/nothing"), None),
        ] {
            assert_eq!(figure.of(&data), wanted, "{figure:?}");
        }
    }

    #[test]
    fn bars_are_judged_by_the_median() {
        assert_eq!(Bar::AtMost(2.0, "ms").met(2.0), "met");
        assert_eq!(Bar::AtMost(2.0, "ms").met(2.1), "**missed**");
        assert_eq!(Bar::AtLeast(2.0).met(1.9), "**missed**");
        assert_eq!(Bar::None.met(0.0), "");
        let bars = [Bar::AtMost(2.0, "ms"), Bar::AtLeast(150_000.0), Bar::None];
        assert_eq!(bars.map(|bar| bar.to_string()), ["at most 2 ms", "at least 150,000", ""]);
    }

    #[test]
    fn thousands_have_commas() {
        let shown = [(396_188.2, 0), (-1_234.56, 1), (0.05, 2), (999.0, 0)];
        let shown = shown.map(|(value, digits)| in_digits(value, digits));
        assert_eq!(shown, ["396,188", "-1,234.6", "0.05", "999"]);
    }
}
