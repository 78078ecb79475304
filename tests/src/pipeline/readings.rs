//! A file that is opened by a symbolic link: what rules see of it with `rules.paths` as Falco has it, and with `either`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::SCENE;
use crate::harness::alerts::Caller;
use crate::harness::jail::Jail;
use crate::harness::recorder::{Studio, bytes, replay};
use crate::harness::scene::itest;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] =
    &[Test { name: "readings/links_lead_to_what_rules_are_about", needs: SCENE, run: links }];

/// Rules about `FOLDER`: a file in it, and all in it but what is in a folder of it.
const RULES: &str = "
- rule: secret
  desc: the secret is opened
  condition: evt.type = openat and fd.name = FOLDER/secret
  output: \"%fd.name %fd.nameraw\"
  priority: WARNING
- rule: closed
  desc: something is opened that is not public
  condition: evt.type = openat and fd.name startswith FOLDER/ and not fd.name startswith FOLDER/public
  output: \"%fd.name %fd.nameraw\"
  priority: WARNING
";

/// A path that is opened, below the folder; the rules that tell of it by the written path, and those by either.
const CASES: &[(&str, &[&str], &[&str])] = &[
    ("secret", &["secret", "closed"], &["secret", "closed"]),
    ("public/x", &[], &[]),
    // Links: to the file, to its folder, to a link, one that stands where rules look away, and one that leads there.
    ("away/link", &["closed"], &["closed", "secret"]),
    ("away/folder/secret", &["closed"], &["closed", "secret"]),
    ("away/again", &["closed"], &["closed", "secret"]),
    ("public/link", &[], &["secret", "closed"]),
    ("../outside/link", &[], &["secret", "closed"]),
    ("../outside/public", &[], &[]),
    // Cleaned as text this is in `away`; the kernel follows the link first.
    ("away/folder/public/../secret", &["closed"], &["closed", "secret"]),
    // Names of their own.
    ("away/hard", &["closed"], &["closed"]),
    ("away/bound", &["closed"], &["closed"]),
    ("nothing", &["closed"], &["closed"]),
];

fn links(context: &Context) -> anyhow::Result<()> {
    let studio = Studio::new("readings")?;
    let directory = studio.directory.path();
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    let folder = directory.join("folder");
    let outside = directory.join("outside");
    for made in ["public", "away"] {
        fs::create_dir_all(folder.join(made))?;
    }
    fs::create_dir(&outside)?;
    let (secret, away) = (folder.join("secret"), folder.join("away"));
    fs::write(&secret, "")?;
    fs::write(folder.join("public/x"), "")?;
    fs::write(away.join("bound"), "")?;
    fs::hard_link(&secret, away.join("hard"))?;
    for (target, link) in [
        (&*secret, away.join("link")),
        (&*folder, away.join("folder")),
        (Path::new("link"), away.join("again")),
        (&*secret, folder.join("public/link")),
        (&*secret, outside.join("link")),
        (&*folder.join("public/x"), outside.join("public")),
    ] {
        symlink(target, link)?;
    }
    let rules = directory.join("rules.yaml");
    fs::write(&rules, RULES.replace("FOLDER", folder.to_str().context("text")?))?;
    let config = |paths: &str| {
        let config = json!({
            "rules": { "files": [rules], "paths": paths },
            "alerts": { "append_output": [], "json_output": true },
        });
        let path = directory.join(format!("{paths}.yaml"));
        fs::write(&path, config.to_string())?;
        path.into_os_string().into_string().ok().context("text")
    };
    let (written, either) = (config("written")?, config("either")?);

    // What the kernel lets pass for `either` is recorded, with what rules say of it.
    let recorder = studio.record(context, &["--alerts", "--config", &either])?;
    let mut command = itest(&context.itest, studio.cgroup.path(), &["workload", "calls"])?;
    Jail::default().bind(&secret, &away.join("bound")).hold(&mut command);
    let mut caller = Caller::start(command)?;
    for (path, ..) in CASES {
        caller.call(&format!("openat -100 \"{}\" 0", folder.join(path).display()))?;
    }
    // A relative path, which the kernel cannot judge by its text.
    caller.call(&format!("away=openat -100 \"{}\" 0x10000", away.display()))?;
    caller.call("openat @away \"link\" 0")?;
    drop(caller);
    let (capture, lines) = (recorder.capture.clone(), recorder.lines.clone());
    let ended = recorder.terminate()?;
    ensure!(ended.status.success(), "the recorder ended with {}", ended.status);

    let live = bytes(&lines)?;
    let of = |config: &str| -> anyhow::Result<Vec<u8>> {
        let output = replay(context, &capture, &["--output", "json", "--config", config])?;
        ensure!(output.status.success(), "replay: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    ensure!(live == of(&either)?, "a replay says something else");
    let (by_either, by_written) = (told(&live)?, told(&of(&written)?)?);
    for (path, in_written, in_either) in CASES {
        let raw = folder.join(path).display().to_string();
        for (told, expected, how) in [(&by_written, in_written, "written"), (&by_either, in_either, "either")]
        {
            let found: Vec<_> = told.iter().filter(|alert| alert.1 == raw).map(|alert| &*alert.0).collect();
            let is = found.len() == expected.len() && expected.iter().all(|rule| found.contains(rule));
            ensure!(is, "{raw} by {how} is told by {found:?}, not by {expected:?}: {told:#?}");
        }
    }
    // The name in an alert is that which the rule matched.
    let name = |rule: &str, raw: &str| {
        let alert = by_either.iter().find(|alert| alert.0 == rule && alert.1.ends_with(raw));
        alert.map(|alert| alert.2.clone()).unwrap_or_default()
    };
    let (linked, closed) = (name("secret", "/away/link"), name("closed", "/away/link"));
    ensure!(Path::new(&linked) == secret && Path::new(&closed) == away.join("link"), "{linked} {closed}");
    let relative = by_either.iter().filter(|alert| alert.1 == "link" && alert.0 == "secret").count();
    ensure!(relative == 1, "a relative link is told {relative} times");
    Ok(())
}

/// Every alert of the two rules: its rule, the path as it was written, the name.
fn told(lines: &[u8]) -> anyhow::Result<Vec<(String, String, String)>> {
    let lines = str::from_utf8(lines)?.lines();
    let lines = lines.map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |alert: &Value| {
        let fields = &alert["output_fields"];
        (text(&alert["rule"]), text(&fields["fd.nameraw"]), text(&fields["fd.name"]))
    };
    Ok(lines.iter().filter(|line| line["rule"].is_string()).map(one).collect())
}
