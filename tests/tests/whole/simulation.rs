//! Every case that was ever reduced. The seeds of the simulation are played by a program that is optimised: `cargo xtask sim`.
#![allow(clippy::unwrap_used)]

use halite_tests::case::Case;
use std::path::Path;

#[test]
fn every_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "case") {
            continue;
        }
        let case: Case = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let [first, second] =
            [(); 2].map(|()| case.run().unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display())));
        assert_eq!(first.trace, second.trace, "{}: two traces", path.display());
        count += 1;
    }
    assert!(count >= 10, "{count} cases are left");
}
