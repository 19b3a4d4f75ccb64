//! Files that the user names as outputs: nothing is lost unasked, and what is there stays what it is.

use crate::common::{Place, train};
use std::fs;
use trainer::train::checkpoint::Checkpoint;

const DATA: [&str; 2] = ["--data=data", "--unverified-data"];
const CONV: [&str; 6] = ["profile", "conv", "--shape=1,4,4,4,4,3,3,1,1", "--rounds=1", "--no-errors", "--threads=1"];
const STEP: [&str; 7] = ["profile", "step", "--layers=1", "--channels=4", "--size=8", "--batch=2", "--runs=1"];

/// Every option of a command that names a file to write, with its command.
fn outputs() -> Vec<(Vec<&'static str>, &'static str)> {
    let eval = [&["eval", "run/checkpoint.safetensors"][..], &DATA].concat();
    let export = [&["export", "run/checkpoint.safetensors"][..], &DATA].concat();
    let example = [&export[..], &["--out=/dev/null"]].concat();
    vec![
        (eval.clone(), "--errors"),
        (eval, "--picture"),
        (export, "--out"),
        (example, "--example"),
        (CONV.to_vec(), "--csv"),
        (CONV.to_vec(), "--json"),
        (CONV.to_vec(), "--roofline"),
        (STEP.to_vec(), "--trace"),
        (STEP.to_vec(), "--csv"),
    ]
}

fn place() -> Place {
    let place = Place::new();
    place.succeed(&train(&["--samples=16", "--out=run", "--threads=1"]));
    place
}

#[test]
fn every_output_is_overwritten_only_with_force() {
    let place = place();
    for (command, option) in outputs() {
        fs::write(place.path("mine.svg"), "mine").unwrap();
        let arguments = [&command[..], &[option, "mine.svg"]].concat();
        let message = place.fail(&arguments);
        assert_eq!(message, "mine.svg exists: use --force to overwrite it, or choose another place", "{arguments:?}");
        assert_eq!(place.read_text("mine.svg"), "mine");
        place.succeed(&[&arguments[..], &["--force"]].concat());
        assert_ne!(place.read("mine.svg").len(), 4, "{arguments:?}");
    }
    let restore = ["restore", "run/checkpoint.safetensors", "--missing=left", "run/reconstruction.png"];
    place.succeed(&restore);
    let message = place.fail(&restore);
    assert!(message.starts_with("./reconstruction-restored.png exists: use --force "), "{message}");
    let report = ["report", "run", "--out=there"];
    place.succeed(&report);
    let message = place.fail(&report);
    assert!(message.starts_with("there/") && message.contains(" exists: use --force "), "{message}");
    place.succeed(&[&report[..], &["--force"]].concat());
    // A run's own report is there to be renewed.
    place.succeed(&["report", "run"]);
}

#[test]
fn the_checkpoint_that_is_evaluated_is_not_overwritten() {
    let place = place();
    let file = "run/checkpoint.safetensors";
    let message = place.fail(&[&["eval", file, "--errors", file][..], &DATA].concat());
    assert!(message.starts_with("run/checkpoint.safetensors exists: "), "{message}");
    Checkpoint::read(&place.path(file)).unwrap();
    let message = place.fail(&[&["export", file, "--out=a", "--example=run/../a"][..], &DATA].concat());
    assert!(message.starts_with("run/../a: two files would be written there"), "{message}");
    assert!(!place.path("a").exists());
}

/// In a folder of its own, so that a link can lead out of it.
#[cfg(unix)]
#[test]
fn links_rights_pipes_and_devices_stay_what_they_are() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let place = place();
    fs::create_dir(place.path("links")).unwrap();
    symlink("../far.svg", place.path("links/link.svg")).unwrap();
    let mkfifo = std::process::Command::new("mkfifo").arg(place.path("pipe.svg")).status().unwrap();
    assert!(mkfifo.success());
    for (command, option) in outputs() {
        fs::write(place.path("far.svg"), "mine").unwrap();
        fs::set_permissions(place.path("far.svg"), fs::Permissions::from_mode(0o600)).unwrap();
        let run = |more: &[&'static str]| place.succeed(&[&command[..], &[option], more].concat());
        run(&["links/link.svg", "--force"]);
        assert!(place.path("links/link.svg").is_symlink(), "{command:?} {option}");
        assert!(place.read("far.svg").len() > 4, "{command:?} {option}");
        assert_eq!(fs::metadata(place.path("far.svg")).unwrap().permissions().mode() & 0o7777, 0o600);

        let reader = std::thread::spawn({
            let pipe = place.path("pipe.svg");
            move || fs::read(pipe).unwrap()
        });
        run(&["pipe.svg"]);
        assert!(!reader.join().unwrap().is_empty(), "{command:?} {option}");
        assert!(fs::metadata(place.path("pipe.svg")).unwrap().file_type().is_fifo(), "{command:?} {option}");
        assert_eq!(place.files("links"), ["link.svg"]);
    }
    let [eval, ..] = &outputs()[..] else { panic!("no outputs") };
    assert!(place.succeed(&[&eval.0[..], &["--errors=/dev/null"]].concat()).contains("validation L1"));
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());

    // A file that a shell has opened has its place in it.
    let file = fs::File::create(place.path("all")).unwrap();
    let mut command = place.command(&[&eval.0[..], &["--errors=/dev/stdout"]].concat());
    assert!(command.stdout(file).status().unwrap().success());
    let text = place.read_text("all");
    assert!(text.contains("validation L1") && text.ends_with("}\n") && text.contains("\n{\"size\":8"), "{text}");
}

#[test]
fn images_may_have_the_longest_names_there_are() {
    let place = place();
    for (length, beginning) in [(235, "a"), (255, "b")] {
        let name = beginning.repeat(length - 4) + ".png";
        fs::copy(place.path("run/reconstruction.png"), place.path(&name)).unwrap();
        let restore = ["restore", "run/checkpoint.safetensors", "--missing=left", "--with-input", &name];
        place.succeed(&restore);
        for end in ["-input.png", "-restored.png"] {
            let is = |file: &&String| file.starts_with(beginning) && file.ends_with(end);
            assert_eq!(place.files("").iter().filter(is).count(), 1, "{end}: {:?}", place.files(""));
        }
    }
    let name = "c".repeat(255);
    fs::copy(place.path("run/checkpoint.safetensors"), place.path(&name)).unwrap();
    let out = place.succeed(&["export", &name]);
    assert!(place.path(out.trim()).exists() && out.ends_with(".onnx\n"), "{out}");
}
