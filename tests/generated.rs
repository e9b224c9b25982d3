//! Files that are generated from the code are fresh. With `RINGFORT_BLESS=1` they are written instead.

use std::{fs, path::Path};

use ringfort::ops::{exposition, metrics::METRICS};

fn check_or_bless(path: &str, fresh: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var("RINGFORT_BLESS").is_ok_and(|value| value == "1") {
        fs::create_dir_all(path.parent().expect("a file in a directory")).expect("the directory");
        fs::write(&path, fresh).expect("the file can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == fresh, "{} is stale: run `make bless`", path.display());
}

#[test]
fn the_reference_of_metrics_is_fresh() {
    check_or_bless("docs/metrics.md", &exposition::reference(METRICS));
}
