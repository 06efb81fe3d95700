//! The kept inputs, and as much fuzzing as one asks for.

use super::Target;
use super::drive::Fault;
use super::drive::Fuzzer;
use super::drive::hash_of;
use super::drive::limit_of;
use super::drive::minimise;
use super::drive::processor_time;
use super::targets;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

/// How long each target is fuzzed by `cargo test`, beside its kept inputs.
const MOMENT: Duration = Duration::from_millis(400);

/// How long one target is fuzzed before it is the next one's turn.
const ROUND: Duration = Duration::from_secs(10);

/// No input may hold up the program this long; what does is never ending.
const HANGS: Duration = Duration::from_secs(60);

/// The longest of an other's inputs that is taken, in bytes.
const LONGEST_SEED: u64 = 64 << 10;

#[test]
fn every_target_has_inputs_and_all_inputs_have_a_target() {
    let names: BTreeSet<String> = targets().iter().map(|t| t.name.to_owned()).collect();
    assert_eq!(names.len(), targets().len(), "two targets have one name");
    let folders: BTreeSet<String> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders, names);
    for name in &names {
        assert!(!inputs_of(&corpus().join(name)).is_empty(), "{name}");
    }
}

#[test]
fn kept_inputs_and_mutations_of_them_break_no_law() {
    let targets = targets();
    let mut findings = String::new();
    for target in &targets {
        let mut fuzzer = Fuzzer::new(target, 1, None);
        for (path, input) in inputs_of(&corpus().join(target.name)) {
            if let Err(fault) = fuzzer.take(&input) {
                let _ = writeln!(findings, "{}: {fault}", path.display());
            }
        }
        if let Err((fault, input)) = fuzzer.fuzz(MOMENT) {
            let path = keep(&out(), target, &input, &fault);
            let _ = writeln!(findings, "{}: {fault}", path.display());
        }
    }
    assert!(findings.is_empty(), "\n{findings}see docs/fuzzing.md");
}

/// Fuzzes for `WATCHPOST_FUZZ_SECONDS`; see docs/fuzzing.md for this and the other variables.
#[test]
#[ignore = "takes as long as it is told"]
fn for_long() {
    let variable = |name: &str| std::env::var(format!("WATCHPOST_FUZZ_{name}")).ok();
    let number = |name: &str, default: u64| {
        variable(name).map_or(default, |text| {
            text.parse().expect("a variable has no number")
        })
    };
    let time = Duration::from_secs(number("SECONDS", 60));
    let seed = number("SEED", 1);
    let seeds = variable("SEEDS").map(PathBuf::from);
    let wanted = variable("TARGETS").unwrap_or_default();
    let out = out();
    let targets = targets();
    let chosen = targets
        .iter()
        .filter(|target| wanted.is_empty() || wanted.split(',').any(|name| name == target.name));
    let mut findings = BTreeSet::new();
    let mut fuzzers = Vec::new();
    println!("seed {seed}, findings go to {}", out.display());
    let beat = watch();
    for target in chosen {
        fs::create_dir_all(out.join("current")).unwrap();
        let current = File::create(out.join("current").join(target.name)).unwrap();
        let mut fuzzer = Fuzzer::new(target, seed, Some(current));
        let mut folders = vec![
            corpus().join(target.name),
            out.join("kept").join(target.name),
        ];
        folders.extend(seeds.iter().map(|folder| folder.join(target.name)));
        for (_, input) in folders.iter().flat_map(|folder| inputs_of(folder)) {
            beat.store(0, Relaxed);
            if let Err(fault) = fuzzer.take(&input) {
                tell(&out, target, &input, &fault, &mut findings);
            }
        }
        println!(
            "{}: {} inputs to begin with",
            target.name,
            fuzzer.kept.len()
        );
        fuzzers.push((fuzzer, Duration::ZERO));
    }
    let start = Instant::now();
    while start.elapsed() < time {
        for (fuzzer, spent) in &mut fuzzers {
            let round = Instant::now();
            let left = time.saturating_sub(start.elapsed());
            while round.elapsed() < ROUND.min(left) {
                beat.store(0, Relaxed);
                let rest = ROUND.min(left).saturating_sub(round.elapsed());
                if let Err((fault, input)) = fuzzer.fuzz(rest.min(Duration::from_secs(1))) {
                    tell(&out, fuzzer.target, &input, &fault, &mut findings);
                }
            }
            *spent += round.elapsed();
        }
        let state = fuzzers
            .iter()
            .fold(String::new(), |mut state, (fuzzer, _)| {
                let (kept, seen) = (fuzzer.kept.len(), fuzzer.seen.len());
                let _ = write!(state, " {} {kept}/{seen}", fuzzer.target.name);
                state
            });
        println!("{} s:{state}", start.elapsed().as_secs());
    }
    for (fuzzer, spent) in &fuzzers {
        println!(
            "{}: {} runs in {} s, {} inputs kept, {} places seen",
            fuzzer.target.name,
            fuzzer.runs,
            spent.as_secs(),
            fuzzer.kept.len(),
            fuzzer.seen.len()
        );
        let folder = out.join("kept").join(fuzzer.target.name);
        fs::create_dir_all(&folder).unwrap();
        for input in &fuzzer.kept {
            beat.store(0, Relaxed);
            fs::write(folder.join(format!("{:016x}", hash_of(input))), input).unwrap();
        }
    }
    assert!(findings.is_empty(), "{} findings", findings.len());
}

/// Says what was found, once for each cause.
fn tell(out: &Path, target: &Target, input: &[u8], fault: &Fault, findings: &mut BTreeSet<String>) {
    if findings.insert(format!("{} {}", target.name, fault.cause())) {
        let path = keep(out, target, input, fault);
        println!("FINDING in {}: {fault}\n  {}", target.name, path.display());
    }
}

/// Writes an input that breaks a law, made small.
fn keep(out: &Path, target: &Target, input: &[u8], fault: &Fault) -> PathBuf {
    let folder = out.join("findings").join(target.name);
    fs::create_dir_all(&folder).unwrap();
    // as it was found, in case that making it smaller takes too long
    let path = folder.join(format!("{:016x}", hash_of(input)));
    fs::write(&path, input).unwrap();
    let path = path.with_extension("small");
    fs::write(&path, minimise(target, input, fault)).unwrap();
    path
}

/// Ends the program where nothing resets what is returned for long.
fn watch() -> &'static AtomicU64 {
    static WAITED: AtomicU64 = AtomicU64::new(0);
    std::thread::spawn(|| {
        while WAITED.fetch_add(1, Relaxed) < HANGS.as_secs() {
            std::thread::sleep(Duration::from_secs(1));
        }
        println!("HANGS: the input is the latest file in the folder 'current'");
        std::process::exit(1);
    });
    &WAITED
}

fn inputs_of(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.metadata()
            .is_ok_and(|m| m.is_file() && m.len() <= LONGEST_SEED)
    });
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Where findings go.
fn out() -> PathBuf {
    std::env::var_os("WATCHPOST_FUZZ_OUT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz-findings"),
        PathBuf::from,
    )
}

#[test]
fn planted_faults_are_found_and_made_small() {
    let planted = Target::new("planted", &[b"\x7fELF"], |input, seen| {
        let found = input.windows(4).position(|window| window == b"\x7fELF");
        seen(&format!("{}", found.is_some()));
        assert!(!input.starts_with(b"slow") || input.len() < 30, "long");
        if let Some(at) = found {
            assert!(input.get(at + 4) != Some(&200), "two hundred");
        }
    });
    let mut fuzzer = Fuzzer::new(&planted, 3, None);
    fuzzer.take(b"harmless, of some length").unwrap();
    let (fault, input) = fuzzer.fuzz(Duration::from_secs(20)).unwrap_err();
    assert!(matches!(&fault, Fault::Panic { message, .. } if message.contains("two hundred")));
    assert_eq!(minimise(&planted, &input, &fault), b"\x7fELF\xc8");

    let slow = Target::new("slow", &[], |input, _| {
        let busy = || processor_time().unwrap_or_default();
        let (start, since) = (busy(), Instant::now());
        let long = 2 * limit_of(input);
        while busy() - start < long && since.elapsed() < 20 * long {
            std::hint::spin_loop();
        }
    });
    let fault = Fuzzer::new(&slow, 1, None).take(b"s").unwrap_err();
    assert!(matches!(fault, Fault::Slow { .. }));
}
