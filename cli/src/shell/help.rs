//! What the shell says to `help`.

use crate::failure::{Failure, Result};
use crate::output::Out;
use clap::Command;
use serde_json::json;
use std::fmt::Write;

const WORDS: &str = r#"
Words are parted by blanks. "two words" keeps a blank and knows \" \\ \n \r \t \0 \xNN; 'two words' keeps
everything; outside of quotes \ takes the next character as it is. A word that begins with - and is no flag
follows --, as in `get -- -5`. A line that begins with # is a remark.

Answers: `OK`; a value, or (nil) where there is none; true or false; (error) and what is wrong. Bytes that
could be misread come as a "word" in quotes. Records come as `key value` lines and then (N records); other long
answers end with (end). A write is durable when it is answered; one of a transaction, when its commit is.
"#;

pub(super) fn help(grammar: &mut Command, about: Option<&str>, out: &mut Out) -> Result<()> {
    let text = match about {
        None => overview(grammar),
        Some(name) => match grammar.find_subcommand_mut(name) {
            Some(command) => command.render_help().to_string().replace("Usage:  ", "Usage: "),
            None => return Err(Failure::usage(format!("no command `{name}`"))),
        },
    };
    let text = text.trim_end();
    out.document(&json!({ "help": text }), || format!("{text}\n"))
}

fn overview(grammar: &Command) -> String {
    let mut text = String::new();
    for command in grammar.get_subcommands() {
        let mut usage = command.get_name().to_owned();
        for argument in command.get_positionals() {
            let name = argument.get_id().as_str().to_uppercase();
            usage.push_str(&if argument.is_required_set() { format!(" {name}") } else { format!(" [{name}]") });
        }
        for flag in command.get_arguments().filter(|argument| !argument.is_positional()) {
            let names = flag.get_value_names().filter(|_| flag.get_action().takes_values());
            let name = names.and_then(|names| names.first()).map_or(String::new(), |name| format!(" {name}"));
            // Writing to a string cannot fail.
            let _ = flag.get_long().map(|long| write!(usage, " [--{long}{name}]"));
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let aliases: Vec<_> = command.get_visible_aliases().collect();
        let aliases = if aliases.is_empty() { String::new() } else { format!(" (also {})", aliases.join(", ")) };
        let _ = writeln!(text, "{usage:<36}{about}{aliases}");
    }
    text + WORDS
}
