//! The README's `wasmtime run` commands, run as they stand.

use super::{Place, block_on, program};
use halite_wasmtime::{Access, Run};

const README: &str = include_str!("../../../../README.md");

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    let place = Place::new("wasi-readme");
    std::fs::create_dir(place.0.path().join("data")).unwrap();
    let lines: Vec<_> = README.lines().map(|line| line.trim_start_matches("$ ")).collect();
    let at: Vec<_> = (0..lines.len()).filter(|&at| lines[at].starts_with("wasmtime run ")).collect();
    assert!(at.len() >= 2, "the README shows the command");
    for at in at {
        let mut words = lines[at].split_whitespace().skip(2);
        let (host, guest) = words.next().and_then(|dir| dir.strip_prefix("--dir=")?.split_once("::")).unwrap();
        assert_eq!(words.next(), Some("halite.wasm"));
        let run = Run::new(program()).args(["halite"]).args(words);
        let run = run.folder(place.0.path().join(host), guest, Access::ReadWrite).unwrap();
        let outcome = block_on(run.finish()).unwrap();
        // Its answer stands below it.
        let answer: Vec<_> = lines[at + 1..]
            .iter()
            .take_while(|line| !line.starts_with("wasmtime") && !line.starts_with("```"))
            .copied()
            .collect();
        assert!(outcome.end.is_success(), "{}: {outcome:?}", lines[at]);
        assert_eq!(outcome.out.lines().collect::<Vec<_>>(), answer, "{}", lines[at]);
    }
}
