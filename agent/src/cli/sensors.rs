//! `tarsier sensors`: the registry, for people, for programs and for `docs/reference/sensors.md`.

use std::io::Write;

use tarsier_abi::{Attach, Ring, Sensor};

use super::Exit;

/// Options of `tarsier sensors`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    for sensor in Sensor::ALL {
        if args.json {
            let line = serde_json::json!({
                "name": sensor.name(), "doc": sensor.doc(), "ring": ring(sensor), "hooks": hooks(sensor),
            });
            writeln!(out, "{line}")?;
            continue;
        }
        writeln!(out, "{:8}{}", sensor.name(), sensor.doc())?;
        for hooks in hooks(sensor) {
            writeln!(out, "        by {}", hooks.join(", else "))?;
        }
    }
    Ok(Exit::Ok)
}

fn ring(sensor: Sensor) -> &'static str {
    match sensor.ring() {
        Ring::Priority => "priority",
        Ring::Bulk => "bulk",
    }
}

/// For each thing that a sensor listens to: the hooks that tell of it, best first.
fn hooks(sensor: Sensor) -> Vec<Vec<String>> {
    let of = |attach: &Attach| attach.entries.iter().map(|entry| entry.hook.to_string()).collect();
    sensor.attach().iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_sensors_page_is_fresh() {
        crate::fresh::assert_fresh("docs/reference/sensors.md", &reference());
    }

    #[test]
    fn every_sensor_has_its_line() {
        let mut out = Vec::new();
        run(&Args { json: true }, &mut out).unwrap();
        let names: Vec<String> = String::from_utf8(out)
            .unwrap()
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].as_str().unwrap().into()
            })
            .collect();
        assert_eq!(names, Sensor::ALL.map(Sensor::name));
    }

    /// `docs/reference/sensors.md`.
    fn reference() -> String {
        let mut page = String::from(
            "# Sensors

<!-- Generated from the code: `TARSIER_BLESS=1 cargo test -p tarsier fresh` rewrites this file. -->

A sensor is the unit that is turned on or off (`sensors` in the configuration, `--sensors` of
`tarsier run`): the programs, maps and decoder of one kind of event. It attaches by the first of its
hooks that the running kernel gives it; `tarsier doctor` and the metric `tarsier_sensor_hook` say which,
and `hooks.avoid` in the configuration puts kinds of hook last.

| sensor | captures | ring | hooks, best first |
|---|---|---|---|
",
        );
        for sensor in Sensor::ALL {
            let hooks: Vec<String> =
                hooks(sensor).into_iter().map(|hooks| format!("`{}`", hooks.join("`, `"))).collect();
            writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                sensor.name(),
                sensor.doc(),
                ring(sensor),
                hooks.join("<br>")
            )
            .expect("a string takes all that is written");
        }
        page
    }
}
