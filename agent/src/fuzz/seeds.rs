//! Inputs of real records, taken from the captures of `tests/captures` (one for each kernel of the matrix).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tarsier_abi::{Header, Sensor};
use zerocopy::FromBytes;

use crate::capture::{Frame, Reader, Recorder};

/// Most bytes of an input: libFuzzer's mutations find little in long ones.
const LONGEST: usize = 3_000;

/// The inputs that one capture gives, each with its target.
pub(super) fn of(capture: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let file = fs::read(capture).expect("a file that can be read");
    let mut reader = Reader::new(file.as_slice()).expect("a capture");
    let about = reader.about().clone();
    let (mut records, mut frames, mut seen) = (Vec::new(), Vec::new(), BTreeMap::<_, u32>::new());
    while let Some(frame) = reader.next_frame().expect("whole") {
        let mut bytes = Vec::new();
        let start = frame.write_to(&mut bytes);
        let record = match &frame {
            Frame::Record(_) | Frame::Process(_) | Frame::Socket { .. } => bytes.split_off(start),
            _ => Vec::new(),
        };
        let kind = Header::read_from_prefix(&record).map(|(header, _)| (header.sensor, header.op)).ok();
        // Two of a kind show every way through the stages.
        let seen = seen.entry((bytes.first().copied(), kind)).or_default();
        *seen += 1;
        if *seen <= 2 && record.len() < LONGEST / 4 {
            frames.push([bytes.as_slice(), &record].concat());
        }
        records.extend(kind.map(|kind| (kind, record)));
    }
    let of_sensor = |sensor: Sensor| {
        let records = records.iter().filter(move |((number, _), _)| *number == sensor as u8);
        records.map(|(_, record)| record.as_slice())
    };
    let mut kinds = BTreeSet::new();
    let first = records.iter().filter(|(kind, _)| kinds.insert(*kind)).map(|(_, record)| record.as_slice());
    let longest =
        of_sensor(Sensor::Exec).filter(|record| record.len() < LONGEST).max_by_key(|record| record.len());
    let mut inputs = vec![
        ("cgroup", framed(of_sensor(Sensor::Cgroup))),
        ("decode", framed(first.collect::<Vec<_>>().into_iter())),
        ("exec", longest.expect("there are processes").to_vec()),
        ("pipeline", frames.concat()),
        ("tcp", framed(of_sensor(Sensor::Tcp))),
    ];
    let mut recorder = Recorder::begin(Vec::new(), &about, None, None).expect("memory");
    for bytes in &frames {
        let mut slots = Vec::new();
        let (frame, _) = Frame::read_from(bytes, &mut slots).expect("it was written");
        recorder.frame(&frame).expect("memory");
    }
    inputs.push(("capture", recorder.finish(0).expect("memory").0));
    inputs
}

/// Records with their lengths before them, as many as fit.
fn framed<'a>(records: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut input = Vec::new();
    for record in records {
        if input.len() + 2 + record.len() <= LONGEST {
            input.extend_from_slice(&(record.len() as u16).to_le_bytes());
            input.extend_from_slice(record);
        }
    }
    input
}
