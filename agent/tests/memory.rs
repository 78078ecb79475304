//! Memory that is short again and again while the frames of a capture come in: what the tables give up is told
//! once, and they go on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tarsier::capture::{Frame, Reader};
use tarsier::config::Config;
use tarsier::export::{Batch, Signal};
use tarsier::pipeline::Offline;

/// How many logs are sent of the capture, its spans by id, and how many of these lost their end, if memory is short after every `every`th cycle.
fn sent(every: usize) -> (u32, BTreeMap<Vec<u8>, u32>, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/6.12.tarsier");
    let mut reader = Reader::new(std::fs::File::open(path).unwrap()).unwrap();
    let taken = Arc::new(Mutex::new(Vec::<Batch>::new()));
    let sink = Arc::clone(&taken);
    let take = move |batch| sink.lock().unwrap().push(batch);
    let about = reader.about().clone();
    let mut offline = Offline::new(&about, &Config::default(), None, Some(Box::new(take))).unwrap();
    let (mut cycles, mut now_ns) = (0, 0);
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Frame::Begin(time) = frame {
            now_ns = time.boot_ns;
        }
        let is_end = matches!(frame, Frame::End);
        offline.feed(&frame);
        cycles += usize::from(is_end);
        if is_end && cycles % every == 0 {
            offline.feed(&Frame::Shed { now_ns });
        }
    }
    assert_eq!(offline.panicked(), 0);
    drop(offline);
    let (mut logs, mut spans, mut lost) = (0, BTreeMap::new(), 0);
    for batch in Arc::into_inner(taken).unwrap().into_inner().unwrap() {
        match batch.signal {
            Signal::Logs => logs += batch.items,
            Signal::Traces => {
                let request = ExportTraceServiceRequest::decode(batch.body).unwrap();
                let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                for span in scopes.flat_map(|scope| scope.spans) {
                    lost += usize::from(format!("{:?}", span.attributes).contains("\"lost\""));
                    *spans.entry(span.span_id).or_default() += 1;
                }
            }
            Signal::Metrics => {}
        }
    }
    (logs, spans, lost)
}

#[test]
fn what_is_given_up_for_memory_is_told_once() {
    let (plenty, short) = (sent(usize::MAX), sent(1));
    assert!(
        plenty.0 > 50 && plenty.1.len() > 50,
        "the capture has {} logs, {} spans",
        plenty.0,
        plenty.1.len()
    );
    assert!(short.2 > plenty.2, "no connection was given up");
    assert_eq!(short.0, plenty.0, "logs do not depend on what is remembered");
    assert!(short.1.values().all(|times| *times == 1), "a connection is told twice");
    assert_eq!(short.1.len(), plenty.1.len(), "as many connections are told");
}
