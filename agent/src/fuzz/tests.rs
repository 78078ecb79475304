//! The checked-in inputs through every target, without a fuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tarsier_abi::Need;
use tarsier_core::decode::Decoder;
use tarsier_core::event::Body;

use super::{TARGETS, capture, frames, seeds};
use crate::export::Signal;
use crate::kernel::btf::Btf;
use crate::kernel::offsets::Offsets;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz")
}

#[test]
fn every_input_of_the_corpus_passes() {
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut inputs = 0;
        for file in files {
            let path = file.expect("a folder that can be listed").path();
            // A panic below names its input.
            println!("{}", path.display());
            (target.run)(&fs::read(&path).expect("a file that can be read"));
            inputs += 1;
        }
        assert!(inputs > 0, "{} has no input", folder.display());
        (target.run)(&[]);
    }
}

/// Requests of the pipeline are what the backends' own decoder reads.
#[test]
fn requests_of_every_input_are_otlp() {
    for file in fs::read_dir(corpus().join("pipeline")).expect("the corpus") {
        let input = fs::read(file.expect("listable").path()).expect("readable");
        capture::run(&input, |batch| {
            let decoded = match batch.signal {
                Signal::Logs => ExportLogsServiceRequest::decode(batch.body).map(drop),
                Signal::Traces => ExportTraceServiceRequest::decode(batch.body).map(drop),
                Signal::Metrics => ExportMetricsServiceRequest::decode(batch.body).map(drop),
            };
            decoded.expect("OTLP");
        });
    }
}

/// Records in the inputs are of this version: an input that is refused at its first byte tests nothing. After
/// a change of their layout, `TARSIER_BLESS=1 cargo test -p tarsier fresh` takes them from the captures anew.
#[test]
fn seeds_are_fresh() {
    let captures = corpus().join("../captures");
    if std::env::var_os("TARSIER_BLESS").is_some_and(|value| value == "1") {
        for entry in fs::read_dir(&captures).expect("captures") {
            let path = entry.expect("listable").path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_none_or(|extension| extension != "tarsier") || name == "bench" {
                continue;
            }
            for (target, input) in seeds::of(&path) {
                let folder = corpus().join(target);
                fs::create_dir_all(&folder).expect("a folder");
                fs::write(folder.join(format!("seed-{name}")), input).expect("a file");
            }
        }
    }
    let mut decoder = Decoder::new(1024);
    let (mut records, mut calls) = (0, 0);
    for entry in fs::read_dir(corpus().join("decode")).expect("the corpus") {
        let path = entry.expect("listable").path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seed-")) {
            continue;
        }
        for record in frames(&fs::read(&path).expect("readable")) {
            let decoded = decoder.decode(record);
            assert!(decoded.is_ok(), "{}: {decoded:?}", path.display());
            records += 1;
            calls += usize::from(decoded.is_ok_and(|event| matches!(event.body, Body::Syscall(_))));
        }
    }
    assert!(records > 20 && calls > 20, "{records} records, {calls} of system calls");
}

/// `btf/seed-native` is `/sys/kernel/btf/vmlinux` of a 6.18 kernel, cut down to what the agent looks up.
#[test]
fn the_btf_seed_holds_every_field() {
    let data = fs::read(corpus().join("btf/seed-native")).expect("readable");
    let offsets = Offsets::resolve(&Btf::parse(data).expect("BTF"));
    let missing = offsets.missing.iter().filter(|missing| missing.field.need != Need::Optional);
    let symbols: Vec<&str> = missing.map(|missing| missing.field.symbol).collect();
    assert_eq!(symbols, [""; 0]);
}

#[test]
fn every_folder_of_the_corpus_has_a_target() {
    let folders =
        fs::read_dir(corpus()).expect("the corpus").map(|entry| entry.expect("listable").file_name());
    let folders: BTreeSet<String> = folders.map(|name| name.to_string_lossy().into_owned()).collect();
    assert_eq!(folders, TARGETS.map(|target| target.name.to_owned()).into());
}

#[test]
fn frames_end_with_the_input() {
    let input = [2, 0, b'a', b'b', 0, 0, 9, 0, b'c'];
    assert_eq!(frames(&input).collect::<Vec<_>>(), [&b"ab"[..], b"", b"c"]);
    assert_eq!(frames(&[1]).count(), 0);
}
