//! Fixed amounts of one kind of work, timed by itself, for `cargo xtask bench`: the start of this program
//! is not part of the figure. Each says one line `{operations, wall_ns, cpu_ns}`; CPU time is this process's
//! and its children's, so BPF programs that run in its system calls are in it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::Say;

/// Done before the clock starts: caches, lazy binding, the first page faults.
const WARM_UP: usize = 10;
/// What one write of the bulk transfer hands to the kernel, bytes.
const BLOCK: usize = 256 * 1024;

/// Does `work` `count` times after a tenth of it as warm-up, and says what that took.
fn timed(
    count: usize,
    say: Say<'_>,
    mut work: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    pin()?;
    (0..count / WARM_UP).try_for_each(&mut work)?;
    let (start, cpu) = (Instant::now(), cpu_ns()?);
    (0..count).try_for_each(&mut work)?;
    let (wall, cpu) = (start.elapsed(), cpu_ns()? - cpu);
    say(&json!({
        "operations": count, "wall_ns": u64::try_from(wall.as_nanos())?, "cpu_ns": cpu,
    }))
}

/// One CPU for the whole run, the same on both sides of a comparison; its children inherit it.
fn pin() -> anyhow::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(0);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// User and system time of this process and of its children that have been waited for, ns.
fn cpu_ns() -> anyhow::Result<u64> {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let own = u64::try_from(own.tv_sec)? * 1_000_000_000 + u64::try_from(own.tv_nsec)?;
    // SAFETY: plain data, any bit pattern is valid.
    let mut children: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `children` is a valid place for the result.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut children) } != 0 {
        return Err(std::io::Error::last_os_error()).context("getrusage");
    }
    let micros = |time: libc::timeval| time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs();
    Ok(own + 1_000 * (micros(children.ru_utime) + micros(children.ru_stime)))
}

/// W0: a system call that no sensor needs.
pub fn getppid(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    timed(count, say, |_| {
        std::hint::black_box(rustix::process::getppid());
        Ok(())
    })
}

/// W1: a file opened and closed, which no sensor needs either.
pub fn open_close(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    timed(count, say, |_| {
        drop(File::open("/proc/version")?);
        Ok(())
    })
}

/// W2: a TCP connection over loopback: connect, accept, one byte, closed by both. One thread does both ends.
pub fn connect(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    timed(count, say, |index| exchange(&listener, index))
}

/// One connection of [`connect`].
fn exchange(listener: &TcpListener, index: usize) -> anyhow::Result<()> {
    // Destinations vary, so that no connection waits for the TIME_WAIT of an earlier one.
    let to = SocketAddr::from((super::sockets::loopback(index), listener.local_addr()?.port()));
    let mut client = TcpStream::connect(to)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"x")?;
    let mut byte = [0];
    server.read_exact(&mut byte)?;
    drop(client);
    if server.read(&mut byte)? != 0 {
        bail!("a byte that nobody sent");
    }
    Ok(())
}

/// W3: a process made, `/bin/true` run in it, its end waited for.
pub fn exec(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    timed(count, say, |_| run_true())
}

fn run_true() -> anyhow::Result<()> {
    let mut command = Command::new("/bin/true");
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status()?;
    if status.success() { Ok(()) } else { bail!("/bin/true ended with {status}") }
}

/// W5: `count` blocks of 256 KiB over one loopback connection, read by a second thread.
pub fn bulk(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let mut server = listener.accept()?.0;
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || -> std::io::Result<u64> {
            let (mut buffer, mut total) = (vec![0; BLOCK], 0);
            loop {
                match server.read(&mut buffer)? {
                    0 => return Ok(total),
                    len => total += len as u64,
                }
            }
        });
        let block = vec![0x54; BLOCK];
        timed(count, say, |_| Ok(client.write_all(&block)?))?;
        client.shutdown(Shutdown::Write)?;
        let expected = ((count + count / WARM_UP) * BLOCK) as u64;
        match reader.join() {
            Ok(total) if total.as_ref().ok() == Some(&expected) => Ok(()),
            other => bail!("the reader got {other:?}, not {expected} bytes"),
        }
    })
}

/// W8: `count` times a socket begins and stops to listen, on as many threads as there are CPUs: the cheapest
/// work that makes records, two each time. As fast as it goes.
pub fn burst(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    on_every_cpu(count, say, |_, share| listen_and_stop(&listening()?, share))
}

/// Connections of [`mix`] for each of its processes.
const CONNECTIONS: usize = 32;

/// `count` connections as [`connect`] makes them, on as many threads as there are CPUs, and a process for every
/// 32 of them: forked, `/bin/true` run in it, waited for. As fast as it goes.
pub fn mix(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    on_every_cpu(count, say, |thread, share| {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        for index in 0..share {
            exchange(&listener, thread * share + index)?;
            if index % CONNECTIONS == 0 {
                run_true()?;
            }
        }
        Ok(())
    })
}

/// Does `work` on a thread for each CPU, which gets the thread's number and its share of `count`; says what
/// that took.
fn on_every_cpu(
    count: usize,
    say: Say<'_>,
    work: impl Fn(usize, usize) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism()?.get();
    let (start, cpu) = (Instant::now(), cpu_ns()?);
    let work = &work;
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(thread, count / threads))).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread panicked"),
        })
    })?;
    let (wall, cpu) = (start.elapsed(), cpu_ns()? - cpu);
    let operations = count / threads * threads;
    say(&json!({ "operations": operations, "wall_ns": u64::try_from(wall.as_nanos())?, "cpu_ns": cpu }))
}

/// How long [`paced`] goes on.
const PACED: Duration = Duration::from_secs(10);
/// Its steps.
const STEP: Duration = Duration::from_millis(1);

/// As [`burst`] on one thread, `rate` times a second for ten seconds.
pub fn paced(rate: usize, say: Say<'_>) -> anyhow::Result<()> {
    let socket = listening()?;
    let (start, cpu) = (Instant::now(), cpu_ns()?);
    let mut done = 0;
    while start.elapsed() < PACED {
        let due = (start.elapsed().as_secs_f64() * rate as f64) as usize;
        listen_and_stop(&socket, due.saturating_sub(done))?;
        done = due.max(done);
        // The work is to be spread over time: nothing happens that could be waited for.
        std::thread::sleep(STEP);
    }
    let (wall, cpu) = (start.elapsed(), cpu_ns()? - cpu);
    say(&json!({ "operations": done, "wall_ns": u64::try_from(wall.as_nanos())?, "cpu_ns": cpu }))
}

fn listening() -> anyhow::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket)
}

/// LISTEN and back to CLOSE, `count` times.
fn listen_and_stop(socket: &Socket, count: usize) -> anyhow::Result<()> {
    for _ in 0..count {
        socket.listen(1)?;
        socket.shutdown(Shutdown::Both)?;
    }
    Ok(())
}

/// S1: `count` established sockets on loopback that do nothing (no more than a process may open). Says `{sockets}` and keeps them until stdin ends.
pub fn idle_sockets(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    let mut held = Vec::with_capacity(count);
    for index in 0..count / 2 {
        held.push(TcpStream::connect(SocketAddr::from((super::sockets::loopback(index), port)))?);
        held.push(listener.accept()?.0);
    }
    say(&json!({ "sockets": held.len() }))?;
    std::io::stdin().lines().for_each(drop);
    Ok(())
}
