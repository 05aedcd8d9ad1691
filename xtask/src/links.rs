//! Checks that links between the documents and to files lead somewhere.

use crate::run::{Result, root};
use crate::tidy;
use std::path::Path;

pub(crate) fn check() -> Result {
    let mut broken = Vec::new();
    for document in tidy::files("md")? {
        let text = std::fs::read_to_string(root().join(&document))
            .map_err(|cause| format!("{}: {cause}", document.display()))?;
        let folder = document.parent().unwrap_or(Path::new(""));
        for (line, target) in targets(&text) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !root().join(folder).join(file).exists() {
                broken.push(format!("{}:{line}: nothing there: {target}", document.display()));
            }
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("broken links:\n{}", broken.join("\n"))) }
}

/// The targets of a document's links, with their lines; not those on the web, and none in code blocks.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code {
            continue;
        }
        let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(links.filter(|target| !target.contains("://")).map(|target| (index + 1, target)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found() {
        let text = "A [b](c.md#d) and [e](https://f.g).\n```\n[no](code)\n```\n[h](i/j.rs)";
        assert_eq!(targets(text), [(1, "c.md#d"), (5, "i/j.rs")]);
    }
}
