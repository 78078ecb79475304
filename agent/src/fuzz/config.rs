//! The configuration, as people write it.

use crate::config::{Loaded, import_falco, print};

/// A configuration file, then NUL and an environment of `NAME=value` lines: it is read, or every mistake has
/// a message. What was read and printed is read again as the same.
pub(super) fn config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (file, environment) = text.split_once('\0').unwrap_or((&text, ""));
    let variables: Vec<(&str, &str)> = environment.lines().filter_map(|line| line.split_once('=')).collect();
    let lookup = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    match Loaded::parse("t.yaml", file, lookup) {
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert!(!problem.what.is_empty() && !problem.source.is_empty(), "{problem:?}");
                // YAML's lines end with CR as well; the parser may place an error behind the last one.
                let lines = file.matches(['\n', '\r']).count() as u64 + 2;
                assert!(problem.place.is_none_or(|(line, _)| line <= lines.max(1)), "{problem:?}");
            }
            assert!(error.to_string().contains("in the configuration"));
        }
        Ok(loaded) => {
            let printed = print(&loaded);
            let again = Loaded::parse("printed.yaml", &printed, |_| None);
            let again = again.unwrap_or_else(|error| panic!("{error}\n{printed}"));
            // Secrets are masked in both.
            let json = |loaded: &Loaded| serde_json::to_value(&loaded.config).expect("string keys only");
            assert_eq!(json(&again), json(&loaded), "{printed}");
        }
    }
}

/// A `falco.yaml`: it becomes a configuration that can be read, or every mistake has a message.
pub(super) fn falco(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match import_falco("falco.yaml", &text) {
        Err(error) => assert!(error.problems.iter().all(|problem| !problem.what.is_empty())),
        Ok(imported) => {
            assert!(imported.left.iter().all(|(key, why)| !key.is_empty() && !why.is_empty()));
            let again = Loaded::parse("imported.yaml", &imported.yaml, |_| None);
            again.unwrap_or_else(|error| panic!("{error}\n{}", imported.yaml));
        }
    }
}
