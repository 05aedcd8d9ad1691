//! What was shipped to the store, and no manifest names yet.

use super::*;
use halite::backends::Path;

/// What was shipped was whole. So where the log of a segment that no manifest names yet does not end, that is damage and no torn
/// tail, however often it is read so, and nothing is dropped.
#[test]
fn a_shipped_segment_whose_end_is_gone_is_refused() {
    process(async {
        let tiers = Tiers::new();
        let db = tiers.open().await.unwrap();
        let fault = Fault { at_step: 0, kind: backends::ErrorKind::Io, repeat: Repeat::Forever, applied: false };
        tiers.store.fail_when(fault, |step| step.path.starts_with("manifest/"));
        let (count, _) = fill(&db, 0).await;
        let tiers = tiers.after(None);
        let of_log = |(path, _): &(Path, u64)| path.as_str().starts_with("segments/");
        let (path, len) = tiers.store.files().into_iter().find(of_log).expect("it was shipped, and is not published");
        let mut refused = 0;
        for cut in (0..len).step_by(61) {
            let tiers = tiers.after(None);
            let whole = tiers.store.read_file(&path).unwrap();
            tiers.store.truncate_file(&path, cut);
            match tiers.open().await {
                Ok(db) => assert_eq!(shown(&db).await, count, "its index alone was cut, at {cut} of {len}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corruption, "{cut} of {len}: {error}");
                    assert!(error.to_string().contains(path.as_str()), "{cut} of {len}: {error}");
                    refused += 1;
                    tiers.store.write_file(&path, whole);
                    assert_eq!(shown(&tiers.open().await.unwrap()).await, count, "{cut} of {len}: all is there");
                }
            }
        }
        assert!(refused > 20, "{refused}");
        drop(db);
    });
}
