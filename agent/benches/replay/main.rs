//! R1: a recorded capture through the user-space path, per stage.
//!
//! `cargo bench -p tarsier --bench replay [-- --capture FILE --passes N --warm-up M --variant NAME]`
//!
//! The capture is unpacked into memory and fed again and again to one pipeline. Before each pass its records are
//! moved ([`moved`]) to a later time and to other processes and sockets, outside of the clock: the tables see new
//! entities at every pass, as in life, and neither grow without end nor meet the same record twice.
//!
//! Variants are each a prefix of the way, run in turn (A B C … C B A), so that a stage is the difference of two:
//! `decode` (bytes to events), `tables` (and all tables, nothing encoded), `encode` (and OTLP requests, thrown
//! away), `send` (and gRPC to a receiver in another process that throws them away). Per record: CPU time of the
//! process (all threads), allocations by a counting allocator. Instructions: run one variant under
//! `valgrind --tool=callgrind --toggle-collect='*one_pass*'`. `--floor`: what the machine takes for the steps that
//! no code can leave out.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark is a command for people")]

mod allocations;
mod floor;
mod moved;
mod receiver;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tarsier::capture::{About, Frame, Reader};
use tarsier::config::Config;
use tarsier::pipeline::Offline;
use tarsier_core::decode::Decoder;

use allocations::allocations;
use moved::Passes;

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Decode,
    Tables,
    Encode,
    Send,
}

impl Variant {
    const ALL: [Self; 4] = [Self::Decode, Self::Tables, Self::Encode, Self::Send];

    fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Tables => "tables",
            Self::Encode => "encode",
            Self::Send => "send",
        }
    }
}

struct Options {
    capture: PathBuf,
    passes: usize,
    warm_up: usize,
    variants: Vec<Variant>,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let mut options = Options {
        capture: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/bench.tarsier")),
        passes: 24,
        warm_up: 8,
        variants: Variant::ALL.to_vec(),
    };
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--receiver" => return receiver::serve(),
            "--drain" => return floor::drain(),
            "--floor" => return floor::report(),
            _ => {}
        }
        let value = arguments.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--capture" => options.capture = value.into(),
            "--passes" => options.passes = value.parse().unwrap(),
            "--warm-up" => options.warm_up = value.parse().unwrap(),
            "--variant" => {
                let found = Variant::ALL.into_iter().find(|variant| variant.name() == value);
                options.variants = vec![found.unwrap_or_else(|| panic!("no variant {value}"))];
            }
            other => panic!("no option {other}"),
        }
    }
    run(&options);
}

/// What all passes of one variant came to.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    records: u64,
    cpu_ns: u64,
    /// The least of all passes, ns per record.
    least: f64,
    allocations: u64,
    items: u64,
    bytes: u64,
}

fn run(options: &Options) {
    let mut reader = Reader::new(std::fs::File::open(&options.capture).unwrap()).unwrap();
    let about = reader.about().clone();
    let mut runners: Vec<Runner> = Vec::new();
    let passes = Passes::read(&mut reader);
    for variant in &options.variants {
        runners.push(Runner::new(*variant, &about, passes.clone()));
    }
    for round in 0..options.warm_up + options.passes {
        // Forwards, then backwards: a drift of the machine favours no variant.
        let count = runners.len();
        for position in 0..count {
            let at = if round % 2 == 0 { position } else { count - 1 - position };
            runners[at].pass(round >= options.warm_up);
        }
    }
    println!(
        "{:<8} {:>12} {:>10} {:>12} {:>12} {:>12} {:>12}",
        "variant", "ns/record", "least", "ns/item", "allocs/rec", "items/rec", "bytes/item"
    );
    for runner in runners {
        let Figures { records, cpu_ns, least, allocations, items, bytes } = runner.figures;
        let per = |value: u64| value as f64 / records as f64;
        println!(
            "{:<8} {:>12.1} {:>10.1} {:>12.1} {:>12.5} {:>12.3} {:>12.1}",
            runner.variant.name(),
            per(cpu_ns),
            least,
            // Without items (nothing is encoded) there is no cost of one.
            if items == 0 { 0.0 } else { cpu_ns as f64 / items as f64 },
            per(allocations),
            per(items),
            bytes as f64 / items.max(1) as f64
        );
        runner.end();
    }
}

/// One variant and the pipeline that it feeds.
struct Runner {
    variant: Variant,
    passes: Passes,
    engine: Engine,
    figures: Figures,
    taken: Arc<Taken>,
}

#[derive(Default)]
struct Taken {
    items: AtomicU64,
    bytes: AtomicU64,
}

enum Engine {
    Decoder(Box<Decoder>),
    Offline(Box<Offline>),
    Sending(Box<Offline>, receiver::Peer),
}

impl Runner {
    fn new(variant: Variant, about: &About, passes: Passes) -> Self {
        let taken = Arc::new(Taken::default());
        let counter = Arc::clone(&taken);
        let count = move |batch: &tarsier::export::Batch| {
            counter.items.fetch_add(u64::from(batch.items), Ordering::Relaxed);
            counter.bytes.fetch_add(batch.body.len() as u64, Ordering::Relaxed);
        };
        let config = Config::default();
        let offline = |requests| Box::new(Offline::new(about, &config, None, requests).unwrap());
        let engine = match variant {
            Variant::Decode => Engine::Decoder(Box::new(Decoder::new(about.cpus))),
            Variant::Tables => Engine::Offline(offline(None)),
            Variant::Encode => Engine::Offline(offline(Some(Box::new(move |batch| count(&batch))))),
            Variant::Send => {
                let peer = receiver::Peer::start();
                let send = peer.sender();
                let requests = move |batch: tarsier::export::Batch| {
                    count(&batch);
                    send.wait_for_room(batch.body.len());
                    send.push(batch).unwrap();
                };
                Engine::Sending(offline(Some(Box::new(requests))), peer)
            }
        };
        Self { variant, passes, engine, figures: Figures::default(), taken }
    }

    fn pass(&mut self, counted: bool) {
        self.passes.advance();
        let before = (cpu_ns(), allocations(), self.taken());
        one_pass(&mut self.engine, &self.passes);
        if let Engine::Sending(_, peer) = &self.engine {
            peer.drained();
        }
        let (cpu, allocated, taken) = (cpu_ns() - before.0, allocations() - before.1, self.taken());
        if !counted {
            return;
        }
        let records = self.passes.records();
        let each = cpu as f64 / records as f64;
        let figures = &mut self.figures;
        figures.least = if figures.records == 0 { each } else { figures.least.min(each) };
        figures.records += records;
        figures.cpu_ns += cpu;
        figures.allocations += allocated;
        figures.items += taken.0 - before.2.0;
        figures.bytes += taken.1 - before.2.1;
    }

    fn taken(&self) -> (u64, u64) {
        (self.taken.items.load(Ordering::Relaxed), self.taken.bytes.load(Ordering::Relaxed))
    }

    fn end(self) {
        if let Engine::Sending(offline, peer) = self.engine {
            drop(offline);
            peer.stop();
        }
    }
}

/// The work that is timed; a name of its own for callgrind.
#[inline(never)]
fn one_pass(engine: &mut Engine, passes: &Passes) {
    match engine {
        Engine::Decoder(decoder) => passes.each(|frame| {
            if let Frame::Record(record) = frame {
                std::hint::black_box(decoder.decode(record).is_ok());
            }
        }),
        Engine::Offline(offline) | Engine::Sending(offline, _) => passes.each(|frame| offline.feed(frame)),
    }
}

/// CPU time of this process, all threads, ns.
fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
