use tarsier::kernel::*;
use tarsier_abi::Sensor;
fn main() {
    let cg = std::env::args().nth(1).unwrap();
    use std::os::unix::fs::MetadataExt;
    let id = std::fs::metadata(&cg).unwrap().ino();
    let level = cg.trim_start_matches("/sys/fs/cgroup/unified/").trim_start_matches("/sys/fs/cgroup/").split('/').count() as u32;
    let o = LoadOptions { sensors: Sensor::ALL.to_vec(), scope: Some((id, level)), v1_controller: None, priority_bytes: 1<<20, bulk_bytes: 4<<20 };
    let t = std::time::Instant::now();
    let mut k = match Kernel::load(&o) { Ok(k) => k, Err(e) => { eprintln!("{e}"); std::process::exit(1) } };
    k.attach();
    for s in &k.sensors { match &s.state { Ok(()) => println!("{} ok", s.sensor.name()), Err(e) => println!("{} OFF: {}", s.sensor.name(), if e.len() > 6000 { &e[e.len()-6000..] } else { e }) } }
    println!("{:?}", t.elapsed());
    for (n, p) in k.programs() { println!("{n} {p:?}"); }
    let r = k.seed_tasks(|r| println!("task {} bytes {:?}", r.len(), String::from_utf8_lossy(&r[224..])));
    println!("{r:?}");
    let f = std::fs::File::open("/proc/self/ns/net").unwrap();
    let r = k.seed_sockets(&f, |r| { let (x, _) = <tarsier_abi::tcp::SeedRecord as zerocopy::FromBytes>::read_from_prefix(r).unwrap(); println!("{:?}", x); });
    println!("{r:?}");
    let (mut p, mut b) = k.rings().unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let lim = p.snapshot(); p.drain_to(lim, |r| println!("P {} op {} len {} {}", r[0], r[1], r.len(), String::from_utf8_lossy(r)));
    let lim = b[0].snapshot(); b[0].drain_to(lim, |r| println!("B op {} len {}: {:?}", r[1], r.len(), tarsier_core::event::tcp::decode(r[1], r)));
    println!("{:?}", k.ledger());
}
