//! Counts what test runs report, and keeps what the failed ones said, to be told again at the very end: a log of a run is
//! long, and who reads it begins there.

/// Of what a failed test has printed, the first lines are kept: its panic is among them.
const LINES_MAX: usize = 30;

/// Of what a failed program has printed, so many lines are kept: the first say what was wrong, the last how to see it again.
const PROGRAM_LINES: (usize, usize) = (8, 4);

/// The sum of the runs' summaries.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    failures: Vec<Failure>,
    /// Whether the lines that come are what the last of the failures has printed.
    within: bool,
}

#[derive(Debug, PartialEq)]
struct Failure {
    name: String,
    printed: Vec<String>,
}

impl Tally {
    /// Adds a program that is a test by itself.
    pub(crate) fn note(&mut self, name: &str, succeeded: bool, printed: &[String]) {
        self.passed += u64::from(succeeded);
        self.failed += u64::from(!succeeded);
        if !succeeded {
            let (first, last) = PROGRAM_LINES;
            let behind = printed.len().saturating_sub(last).max(first);
            let kept = printed.iter().take(first).chain(printed.iter().skip(behind));
            self.failures.push(Failure { name: name.to_owned(), printed: kept.cloned().collect() });
        }
    }

    /// Adds a line of a run: a summary such as `test result: ok. 3 passed; 0 failed; 0 ignored; …` counts, and what stands
    /// below `---- name stdout ----`, up to the list of names or the next of its kind, is kept.
    pub(crate) fn add(&mut self, line: &str) {
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.passed += before(summary, " passed");
            self.failed += before(summary, " failed");
            self.within = false;
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.failures.push(Failure { name: name.to_owned(), printed: Vec::new() });
            self.within = true;
        } else if line == "failures:" {
            self.within = false;
        } else if let (true, Some(failure)) = (self.within, self.failures.last_mut())
            && failure.printed.len() < LINES_MAX
            && !line.is_empty()
        {
            failure.printed.push(line.to_owned());
        }
    }

    /// The failures, each with the beginning of what it has printed.
    pub(crate) fn failures(&self) -> impl Iterator<Item = String> {
        self.failures.iter().map(|failure| {
            failure.printed.iter().fold(format!("failed: {}", failure.name), |text, line| text + "\n    " + line)
        })
    }
}

/// The number that stands before `what`.
fn before(summary: &str, what: &str) -> u64 {
    let before = summary.split(what).next().unwrap_or_default();
    before.split(|c: char| !c.is_ascii_digit()).next_back().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.add(line));
        tally
    }

    #[test]
    fn summaries_are_summed() {
        let total = tally(&[
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.25s",
            "a line about 7 passed things",
        ]);
        assert_eq!((total.passed, total.failed), (13, 2));
    }

    #[test]
    fn what_failed_is_told_again() {
        let total = tally(&[
            "test first ... FAILED",
            "",
            "failures:",
            "",
            "---- first stdout ----",
            "",
            "thread 'first' panicked at here.rs:1:2:",
            "assertion failed: truth",
            "",
            "---- second stdout ----",
            "another",
            "",
            "failures:",
            "    first",
            "    second",
            "",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "behind it",
        ]);
        let told: Vec<String> = total.failures().collect();
        let first = "failed: first\n    thread 'first' panicked at here.rs:1:2:\n    assertion failed: truth";
        assert_eq!(told, [first, "failed: second\n    another"]);
    }

    #[test]
    fn a_program_is_a_test_by_itself() {
        let mut total = Tally::default();
        total.note("this", true, &["begun".to_owned()]);
        total.note("short", false, &["only".to_owned()]);
        let printed: Vec<String> = (0..100).map(|line| line.to_string()).collect();
        total.note("that", false, &printed);
        assert_eq!((total.passed, total.failed), (1, 2));
        let told: Vec<String> = total.failures().collect();
        let lines = ["0", "1", "2", "3", "4", "5", "6", "7", "96", "97", "98", "99"];
        assert_eq!(told, ["failed: short\n    only".to_owned(), format!("failed: that\n    {}", lines.join("\n    "))]);
    }
}
