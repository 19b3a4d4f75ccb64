//! Standard output that nobody reads any more, or that is full.

use crate::common::{Place, text, train};

/// Commands whose result is what they print, and that write no file.
fn commands() -> Vec<Vec<&'static str>> {
    let eval = ["eval", "run/checkpoint.safetensors", "--data=data", "--unverified-data"];
    vec![
        vec!["--help"],
        vec!["--version"],
        vec!["train", "--help"],
        vec!["gradcheck", "--op=linear", "--cases=1", "--device=reference"],
        vec!["profile", "conv", "--shape=1,4,4,4,4,3,3,1,1", "--rounds=1", "--no-errors", "--threads=1"],
        vec!["profile", "step", "--layers=1", "--channels=4", "--size=8", "--batch=2", "--runs=1"],
        vec!["report", "run"],
        vec!["sweep", "my.toml", "--dry-run"],
        train(&["--print-plan"]),
        eval.to_vec(),
        vec!["export", "run/checkpoint.safetensors", "--out=/dev/null"],
    ]
}

fn place() -> Place {
    let place = Place::new();
    place.succeed(&train(&["--samples=16", "--out=run"]));
    let sweep = "[base]\nchannels = 4\nsize = 8\nbatch = 8\nsamples = 16\nlayers = 1\n";
    std::fs::write(place.path("my.toml"), sweep).unwrap();
    place
}

/// A pipe that nobody reads.
fn unread() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

#[test]
fn a_reader_that_has_read_enough_ends_a_command_without_a_word() {
    let place = place();
    for arguments in commands() {
        let output = place.command(&arguments).stdout(unread()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(141), ""), "{arguments:?}");
    }
    // A run has its results in its folder, and needs no reader.
    let arguments = train(&["--samples=16", "--out=unread"]);
    assert!(place.command(&arguments).stdout(unread()).status().unwrap().success());
    assert!(place.path("unread/summary.json").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error() {
    let place = place();
    let onto_full_disk = |arguments: &[&str]| {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = place.command(arguments).stdout(full).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let told = "error: could not write to standard output: No space left on device (os error 28)\n";
    for arguments in commands() {
        assert_eq!(onto_full_disk(&arguments), (Some(1), told.to_owned()), "{arguments:?}");
    }
    // What does not depend on the lines is done first.
    assert_eq!(onto_full_disk(&train(&["--samples=16", "--out=full"])), (Some(1), told.to_owned()));
    assert!(place.path("full/summary.json").exists());
    let restore = ["restore", "run/checkpoint.safetensors", "--missing=left", "run/reconstruction.png"];
    assert_eq!(onto_full_disk(&restore), (Some(1), told.to_owned()));
    assert!(place.path("reconstruction-restored.png").exists());
    // A wrong command is that, whatever standard output is.
    assert_eq!(onto_full_disk(&["train", "--lyers=3"]).0, Some(2));
}

/// On a terminal of its own, by `script`.
#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_cannot_draw_a_bar_shows_plain_lines() {
    use std::process::{Command, Stdio};
    if !Command::new("script").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("left out: there is no `script`");
        return;
    }
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_resconv");
    for (out, terminal) in [("dumb", Some("dumb")), ("none", None), ("able", Some("xterm"))] {
        let arguments = train(&["--samples=16", "--threads=1", "--out", out]).join(" ");
        let mut command =
            place.prepare(Command::new("script"), &["-qec", &format!("{program} {arguments}"), "/dev/null"]);
        match terminal {
            Some(terminal) => command.env("TERM", terminal),
            None => command.env_remove("TERM"),
        };
        let output = command.output().unwrap();
        let told = text(&output.stdout);
        assert!(output.status.success(), "{told}");
        let lines = told.lines().filter(|line| line.contains("16/16 images  loss ") && !line.contains('\u{1b}'));
        assert_eq!(lines.count(), usize::from(terminal != Some("xterm")), "{terminal:?}: {told}");
    }
}
