//! `-l` of `qsub`: `walltime=1:30:00,nodes=2,ncpus=4,mem=8gb`, or chunks that are added up,
//! `select=2:ncpus=2:mem=4gb+1:ncpus=1:mem=512mb`.

use crate::words::{Complaint, messages as m};
use serde_json::{Value, json};

/// What a script asks for; what it does not name is left to the settings.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Resources {
    /// Cores.
    pub cores: Option<f64>,
    /// Memory in GB.
    pub memory_gb: Option<f64>,
    /// The longest run.
    pub seconds: Option<u64>,
    nodes: Option<u64>,
}

impl Resources {
    /// Adds what one `-l` says; a later one wins.
    pub fn add(&mut self, text: &str) -> Result<(), Complaint> {
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.strip_prefix("select=") {
                Some(chunks) => self.add_chunks(chunks, text)?,
                None => self.add_one(part, text)?,
            }
        }
        Ok(())
    }

    fn add_one(&mut self, part: &str, text: &str) -> Result<(), Complaint> {
        let wrong = || m::INVALID_RESOURCES.complain([("text", &text)]);
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        match name {
            "walltime" | "pcput" => self.seconds = Some(seconds(value).ok_or_else(wrong)?),
            "nodes" => {
                let mut counts = value.split('+').map(leading_number);
                let sum = counts.try_fold(0_u64, |sum, count| sum.checked_add(count?));
                self.nodes = Some(sum.ok_or_else(wrong)?);
            }
            "ncpus" => self.cores = Some(leading_number(value).ok_or_else(wrong)? as f64),
            "mem" => self.memory_gb = Some(gigabytes(value).ok_or_else(wrong)?),
            // Others, like `arch`, mean nothing here.
            _ => {}
        }
        Ok(())
    }

    fn add_chunks(&mut self, chunks: &str, text: &str) -> Result<(), Complaint> {
        let (mut cores, mut memory_gb) = (0.0, 0.0);
        for chunk in chunks.split('+').filter(|chunk| !chunk.trim().is_empty()) {
            let mut one = Self::default();
            let (count, rest) = chunk.split_once(':').unwrap_or((chunk, ""));
            let (count, items) = match count.parse::<f64>() {
                Ok(count) => (count, rest),
                Err(_) => (1.0, chunk),
            };
            for item in items.split(':').filter(|item| item.contains('=')) {
                one.add_one(item, text)?;
            }
            cores += count * one.cores.unwrap_or(0.0);
            memory_gb += count * one.memory_gb.unwrap_or(0.0);
        }
        self.cores = Some(cores).filter(|sum| *sum > 0.0);
        self.memory_gb = Some(memory_gb).filter(|sum| *sum > 0.0);
        Ok(())
    }

    /// How many instances.
    pub fn nodes(&self) -> u64 {
        self.nodes.unwrap_or(1).max(1)
    }

    /// Whether a machine's size is asked for.
    pub fn asks_for_a_size(&self) -> bool {
        self.cores.is_some() || self.memory_gb.is_some()
    }

    /// Whether a machine has what is asked for.
    pub fn fit(&self, cores: f64, memory_gb: f64) -> bool {
        cores >= self.cores.unwrap_or(0.0) && memory_gb >= self.memory_gb.unwrap_or(0.0)
    }

    /// For `--show_opt`.
    pub fn shown(&self) -> Value {
        json!({
            "cpu": self.cores,
            "mem": self.memory_gb,
            "timeout": self.seconds,
            "nodes": self.nodes(),
        })
    }
}

/// `h:m:s`.
fn seconds(text: &str) -> Option<u64> {
    let parts: Vec<u64> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match parts[..] {
        [hours, minutes, seconds] => {
            let minutes = hours.checked_mul(60)?.checked_add(minutes)?;
            minutes.checked_mul(60)?.checked_add(seconds)
        }
        _ => None,
    }
}

fn gigabytes(text: &str) -> Option<f64> {
    let text = text.to_ascii_lowercase();
    if let Some(number) = text.strip_suffix("gb") {
        return number.parse().ok();
    }
    text.strip_suffix("mb")?.parse::<f64>().ok().map(|megabytes| megabytes / 1024.0)
}

/// `2` of `2:ppn=4`.
fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Resources, Complaint> {
        let mut resources = Resources::default();
        resources.add(text)?;
        Ok(resources)
    }

    fn wishes(cores: f64, memory_gb: f64, seconds: u64, nodes: u64) -> Resources {
        let given = |number: f64| Some(number).filter(|number| *number > 0.0);
        Resources {
            cores: given(cores),
            memory_gb: given(memory_gb),
            seconds: Some(seconds).filter(|seconds| *seconds > 0),
            nodes: Some(nodes).filter(|nodes| *nodes > 0),
        }
    }

    #[test]
    fn both_forms_are_read() {
        for (text, wanted) in [
            ("", wishes(0.0, 0.0, 0, 0)),
            ("walltime=1:30:05", wishes(0.0, 0.0, 5405, 0)),
            ("nodes=2+3:ppn=4,ncpus=4,mem=512mb", wishes(4.0, 0.5, 0, 5)),
            ("select=2:ncpus=2:mem=4gb", wishes(4.0, 8.0, 0, 0)),
            ("select=2:ncpus=1:mem=10GB+3:ncpus=2:mem=8gb:arch=x", wishes(8.0, 44.0, 0, 0)),
            ("select=ncpus=2", wishes(2.0, 0.0, 0, 0)),
            ("arch=linux", wishes(0.0, 0.0, 0, 0)),
        ] {
            assert_eq!(read(text), Ok(wanted), "{text}");
        }
        for text in [
            "walltime=90",
            "walltime=18446744073709551615:0:0",
            "nodes=18446744073709551615+1",
            "mem=4tb",
            "ncpus=x",
            "nodes",
            "select=2:mem=x",
        ] {
            let said = read(text).expect_err("wrong").to_string();
            assert!(said.contains(text), "{said}");
        }
    }
}
