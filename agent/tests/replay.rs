//! The captures of `tests/captures/`, one of each kernel of the matrix, replayed without any privilege: what is
//! said of them is what was said when they were blessed. `TARSIER_BLESS=1` writes the golden files anew.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tarsier::capture::Reader;
use tarsier::config::Config;
use tarsier::export::Signal;
use tarsier::pipeline::Offline;

/// The kernel whose lines are kept whole, for people; of the others there are digests.
const WHOLE: &str = "6.1";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures")
}

/// Name and path of every capture.
fn captures() -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tarsier"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    found.sort();
    found
}

/// What the command prints, with an empty environment.
fn replay(path: &Path, more: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarsier"));
    command.args(["replay", path.to_str().unwrap()]).args(more).env_clear().stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Its JSON lines.
fn lines(path: &Path) -> Vec<u8> {
    replay(path, &["--output", "json"])
}

/// Its alerts, of the rules that it was recorded with.
fn alerts(path: &Path) -> Vec<u8> {
    replay(path, &["--rules", folder().join("rules.yaml").to_str().unwrap()])
}

/// Every request, in order: its signal, its items, its bytes.
fn requests(path: &Path) -> Vec<(Signal, u32, Vec<u8>)> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&taken);
    let take = move |batch: tarsier::export::Batch| {
        sink.lock().unwrap().push((batch.signal, batch.items, batch.body.to_vec()));
    };
    let file = std::fs::File::open(path).unwrap();
    let config = Config::default();
    Offline::replay(file, &config, None, Some(Box::new(take))).unwrap();
    Arc::into_inner(taken).unwrap().into_inner().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Compares with a golden file, or writes it.
fn golden(name: &str, found: &[u8]) {
    let path = folder().join(name);
    if std::env::var_os("TARSIER_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read(&path).unwrap_or_default();
    if expected != found {
        let pairs = expected.split(|byte| *byte == b'\n').zip(found.split(|byte| *byte == b'\n'));
        let line = pairs.clone().take_while(|(a, b)| a == b).count();
        let (a, b) = pairs.clone().nth(line).unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        panic!("{name}, line {}:\n golden {}\n found  {}", line + 1, text(a), text(b));
    }
}

#[test]
fn captures_of_every_kernel_say_what_they_said() {
    let captures = captures();
    let kernels: Vec<&str> = captures.iter().map(|(name, _)| name.as_str()).collect();
    for kernel in ["5.10", "6.1", "6.12", "native", "newest"] {
        assert!(kernels.contains(&kernel), "no capture of {kernel}: cargo xtask corpus");
    }
    let mut digests = String::new();
    for (name, path) in &captures {
        let lines = lines(path);
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        let requests = requests(path);
        let mut hasher = Sha256::new();
        let mut items = [0; 3];
        for (signal, count, body) in &requests {
            items[signal.index()] += count;
            hasher.update([signal.index() as u8]);
            hasher.update(body);
        }
        writeln!(digests, "{name} lines {count} sha256 {}", hex(&Sha256::digest(&lines))).unwrap();
        writeln!(digests, "{name} otlp items {items:?} sha256 {}", hex(&hasher.finalize())).unwrap();
        if name == WHOLE {
            golden(&format!("{name}.jsonl"), &lines);
        }
    }
    golden("digests.txt", digests.as_bytes());
}

#[test]
fn calls_of_every_kernel_are_alerted_of_alike() {
    let whole = alerts(&folder().join(format!("{WHOLE}.tarsier")));
    golden(&format!("{WHOLE}.alerts.txt"), &whole);
    // But for when it was, and from which port.
    let alike = |alerts: Vec<u8>| {
        let text = String::from_utf8(alerts).unwrap();
        let word = |word: &str| word.split_once("->").map_or(word, |(_, to)| to).to_owned();
        let line = |line: &str| line.split(' ').skip(1).map(word).collect::<Vec<_>>();
        text.lines().map(line).collect::<Vec<_>>()
    };
    let whole = alike(whole);
    assert!(whole.len() > 10, "{whole:?}");
    // The benchmark's capture is older than its rules: it stays, so that figures compare.
    for (name, path) in captures().into_iter().filter(|(name, _)| name != "bench") {
        assert_eq!(alike(alerts(&path)), whole, "{name}");
    }
}

#[test]
fn captures_hold_nothing_of_the_machine_that_made_them() {
    for (name, path) in captures() {
        let reader = Reader::new(std::fs::File::open(&path).unwrap()).unwrap();
        let about = reader.about().clone();
        assert_eq!((about.host_name.as_str(), about.host_id, about.boot_id), ("", None, None), "{name}");
        assert!(about.redacted, "{name}");
        let text = String::from_utf8_lossy(&lines(&path)).into_owned();
        for secret in ["hunter2", "/work/", "/root/", "/home/"] {
            assert!(!text.contains(secret), "{name} holds {secret}");
        }
        assert!(text.contains("[REDACTED]"), "{name}");
    }
}
