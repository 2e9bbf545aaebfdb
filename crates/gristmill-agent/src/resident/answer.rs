//! Tells answers from output: a resident program prints both to its standard output.
//!
//! A line that is a JSON object with a whole number `ExitCode` answers the call, unless it has a
//! `Call` that is another. All else is output, handed on as it comes; only a line that starts like
//! an object is held back until it is whole.

use serde::Deserialize;

/// A longer line is no answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The longest message that is kept.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// What a program says of a call it served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 0 for success.
    pub exit_code: i32,
    /// For the instance's detail; may be empty.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    exit_code: i32,
    #[serde(default)]
    message: String,
    call: Option<u64>,
}

/// Where in a line the program is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Start,
    /// This may become an answer.
    Held(Vec<u8>),
    Output,
}

/// Takes the output of one call apart.
pub struct Splitter {
    call: u64,
    place: Place,
}

impl Splitter {
    /// For the output of this call.
    pub fn new(call: u64) -> Self {
        Self { call, place: Place::Start }
    }

    /// Takes the next bytes: output goes to `log`. `Some`: the call is answered, and what follows
    /// does not belong to it.
    pub fn feed(&mut self, bytes: &[u8], mut log: impl FnMut(&[u8])) -> Option<Answer> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = piece.ends_with(b"\n");
            if self.place == Place::Start && piece.starts_with(b"{") {
                self.place = Place::Held(Vec::new());
            }
            match &mut self.place {
                Place::Held(line) if line.len() + piece.len() <= ANSWER_BYTES_MAX => {
                    line.extend_from_slice(piece);
                    if !ends {
                        continue;
                    }
                    if let Some(answer) = read(line, self.call) {
                        self.place = Place::Start;
                        return Some(answer);
                    }
                    log(line);
                }
                Place::Held(line) => {
                    log(line);
                    log(piece);
                }
                Place::Start | Place::Output => log(piece),
            }
            self.place = if ends { Place::Start } else { Place::Output };
        }
        None
    }

    /// What is still held back, when nothing follows any more.
    pub fn rest(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.place, Place::Start) {
            Place::Held(line) => line,
            Place::Start | Place::Output => Vec::new(),
        }
    }
}

fn read(line: &[u8], call: u64) -> Option<Answer> {
    let body: Body = serde_json::from_slice(line).ok()?;
    if body.call.is_some_and(|named| named != call) {
        return None;
    }
    let mut message = body.message;
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    Some(Answer { exit_code: body.exit_code, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the pieces; the output, and the answer's exit code.
    fn split(pieces: &[&str]) -> (String, Option<i32>) {
        let (mut splitter, mut log) = (Splitter::new(7), Vec::new());
        for piece in pieces {
            let answer = splitter.feed(piece.as_bytes(), |bytes| log.extend_from_slice(bytes));
            if let Some(answer) = answer {
                return (String::from_utf8(log).expect("text"), Some(answer.exit_code));
            }
        }
        log.extend(splitter.rest());
        (String::from_utf8(log).expect("text"), None)
    }

    #[test]
    fn answers_are_told_from_output_wherever_the_pieces_break() {
        let said = "one\n{\"a\":1}\n{ \"ExitCode\": 3 }\nlater\n";
        for at in 0..said.len() {
            let (head, tail) = said.split_at(at);
            assert_eq!(split(&[head, tail]), ("one\n{\"a\":1}\n".into(), Some(3)), "{at}");
        }
    }

    #[test]
    fn what_is_no_answer_is_output() {
        for said in [
            "plain",
            "{",
            "{}\n",
            "{\"ExitCode\":\"0\"}\n",
            "{\"ExitCode\":0.5}\n",
            "{\"ExitCode\":0",
            "{\"ExitCode\":0,\"Call\":8}\n",
            " {\"ExitCode\":0}\n",
            "x{\"ExitCode\":0}\n",
            "[{\"ExitCode\":0}]\n",
        ] {
            assert_eq!(split(&[said]), (said.into(), None), "{said}");
        }
        let long = format!("{{\"ExitCode\":0,\"Message\":\"{}\"}}\n", "x".repeat(ANSWER_BYTES_MAX));
        assert_eq!(split(&[&long]), (long.clone(), None));
        assert_eq!(split(&[&long, "{\"ExitCode\":1}\n"]), (long, Some(1)));
    }

    #[test]
    fn an_answer_may_name_its_call_and_say_more() {
        let line = "{\"Call\":7,\"ExitCode\":-1,\"Message\":\"no grain\",\"Other\":[]}\n";
        let answer = Splitter::new(7).feed(line.as_bytes(), |_| {}).expect("an answer");
        assert_eq!(answer, Answer { exit_code: -1, message: "no grain".into() });
        let long = format!("{{\"ExitCode\":0,\"Message\":\"{}\"}}\n", "谷".repeat(2_000));
        let answer = Splitter::new(7).feed(long.as_bytes(), |_| {}).expect("an answer");
        assert_eq!(answer.message.len(), 999);
    }
}
