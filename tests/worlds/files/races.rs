//! A hostile user of the machine, who swaps files, directories, links and pipes at the paths of `write_files` while the
//! agent works, at first boots and at reboots.
//!
//! A race is one path in one boot. `RACES=10000 cargo test --test files races` makes so many; `make races` does that.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use worlds::guest::Finished;

use crate::instance::{ADDRESS, IP, Instance, SECRET, TOKEN, dump};

/// The hostile user.
const ALICE: u32 = 65_534;
const HOME: &str = "/home/alice";
/// What she wants to change, and what she wants to read.
const VICTIM: &str = "/root/victim/x.conf";
/// Where her program lies, since the target directory may be one that she cannot enter.
const PROGRAM: &str = "/hostile-user";
/// How many paths of each kind one boot has.
const OF_EACH_KIND: usize = 3;
/// Without `RACES`.
const RACES: usize = 400;

/// What lies at the path, and what alice exchanges it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// The file with a link to root's.
    Link,
    /// The same, with a link that is absolute.
    AbsoluteLink,
    /// The directory around the file with a link to root's directory.
    DirectoryLink,
    /// The file with a hard link to root's, as where `fs.protected_hardlinks` is off.
    HardLink,
    /// The file with a pipe.
    Pipe,
    /// The file with a directory.
    Directory,
    /// The directory around the file with another of hers.
    OtherDirectory,
    /// Her file with one in which she asks for the token.
    Asking,
    /// Root's file with the token with a file of hers that looks the same.
    Stolen,
    /// A link that root made, with one of hers.
    RootsLink,
}

impl Attack {
    const ALL: [Self; 10] = [
        Self::Link,
        Self::AbsoluteLink,
        Self::DirectoryLink,
        Self::HardLink,
        Self::Pipe,
        Self::Directory,
        Self::OtherDirectory,
        Self::Asking,
        Self::Stolen,
        Self::RootsLink,
    ];
}

/// A path of a `write_files` entry, and what is done to it.
struct Target {
    attack: Attack,
    number: usize,
}

impl Target {
    fn all() -> Vec<Self> {
        let of_a_kind = |attack| (0..OF_EACH_KIND).map(move |number| Self { attack, number });
        Attack::ALL.into_iter().flat_map(of_a_kind).collect()
    }

    /// A directory of alice's.
    fn directory(&self) -> String {
        format!("{HOME}/{:?}{}", self.attack, self.number)
    }

    /// The path in the context.
    fn path(&self) -> String {
        format!("{}/sub/x.conf", self.directory())
    }

    /// What alice exchanges with what.
    fn pair(&self) -> (String, String) {
        let path = match self.attack {
            Attack::DirectoryLink | Attack::OtherDirectory | Attack::RootsLink => {
                format!("{}/sub", self.directory())
            }
            _ => self.path(),
        };
        (path, format!("{}/other", self.directory()))
    }

    fn content(&self) -> String {
        match self.attack {
            Attack::Stolen => format!("token={TOKEN}\n"),
            _ => format!("master={IP}\n"),
        }
    }

    /// The lines of its entry besides path and content.
    fn more(&self) -> &'static str {
        match self.attack {
            Attack::Stolen => "permissions: '0600'",
            _ => "owner: alice:alice",
        }
    }

    /// Lays down what cloud-init has written, and what alice has beside it.
    fn lay_down(&self, instance: &Instance) {
        let guest = &instance.guest;
        let directory = guest.path(&self.directory());
        let _ = std::fs::remove_dir_all(&directory);
        guest.write(&self.path(), self.content());
        let (_, other) = self.pair();
        let other = guest.path(&other);
        match self.attack {
            Attack::Link => make_link("../../../../root/victim/x.conf", &other),
            Attack::AbsoluteLink => make_link(VICTIM, &other),
            Attack::DirectoryLink | Attack::RootsLink => make_link("../../../root/victim", &other),
            Attack::HardLink => std::fs::hard_link(guest.path(VICTIM), &other).expect("a link can be made"),
            Attack::Pipe => {
                nix::unistd::mkfifo(&other, nix::sys::stat::Mode::S_IRWXU).expect("a pipe can be made");
            }
            Attack::Directory => std::fs::create_dir(&other).expect("a directory can be made"),
            Attack::OtherDirectory => {
                guest.write(
                    &format!("{}/other/x.conf", self.directory()),
                    format!("{}{TOKEN}\n", self.content()),
                );
            }
            Attack::Asking => std::fs::write(&other, format!("{}token={TOKEN}\n{TOKEN}\n", self.content()))
                .expect("a file can be written"),
            Attack::Stolen => std::fs::write(&other, self.content()).expect("a file can be written"),
        }
        if self.attack == Attack::RootsLink {
            let sub = directory.join("sub");
            std::fs::rename(&sub, directory.join("real")).expect("it is there");
            make_link("real", &sub);
        }
        give_to_alice(&directory, &guest.path(VICTIM));
        if self.attack == Attack::Stolen {
            chown(guest.path(&self.path()), Some(0), Some(0)).expect("root may");
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(guest.path(&self.path()), private).expect("root may");
        }
    }
}

fn make_link(to: &str, at: &Path) {
    symlink(to, at).expect("a link can be made");
}

/// Gives her all that lies there, but not the file that a hard link leads to.
fn give_to_alice(path: &Path, victim: &Path) {
    let meta = path.symlink_metadata().expect("it was made");
    if meta.ino() == victim.metadata().expect("it is there").ino() {
        return;
    }
    std::os::unix::fs::lchown(path, Some(ALICE), Some(ALICE)).expect("root may");
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).expect("it is there") {
            give_to_alice(&entry.expect("it can be read").path(), victim);
        }
    }
}

/// A guest with all targets, and root's files.
struct Arena {
    instance: Instance,
    targets: Vec<Target>,
    victim_before: (Vec<u8>, u32, u32, u64),
}

impl Arena {
    fn new() -> Self {
        let targets = Target::all();
        let entries: Vec<_> =
            targets.iter().map(|target| (target.path(), target.content(), target.more())).collect();
        let entries: Vec<_> =
            entries.iter().map(|(path, content, more)| (path.as_str(), content.as_str(), *more)).collect();
        let instance = Instance::new(&dump(&entries));
        let public = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(instance.guest.root(), public).expect("root may");
        // What she would like to see changed looks like any target.
        instance.guest.write(VICTIM, format!("master={IP}\ntoken={TOKEN}\n"));
        for path in ["/root", "/root/victim", VICTIM] {
            let private = std::fs::Permissions::from_mode(if path == VICTIM { 0o600 } else { 0o700 });
            std::fs::set_permissions(instance.guest.path(path), private).expect("root may");
        }
        std::fs::create_dir_all(instance.guest.path(HOME)).expect("a directory can be made");
        chown(instance.guest.path(HOME), Some(ALICE), Some(ALICE)).expect("root may");
        // By another process: a program that is open for writing, be it in a child that was just forked, cannot be run.
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_hostile-user"))
            .arg(instance.guest.path(PROGRAM))
            .status();
        assert!(copied.expect("cp can be run").success());
        let victim_before = look_at(&instance.guest.path(VICTIM));
        Self { instance, targets, victim_before }
    }

    fn lay_down(&self) {
        for target in &self.targets {
            target.lay_down(&self.instance);
        }
        self.instance.lay_down();
    }

    fn alice(&self) -> Alice {
        let pairs = self.targets.iter().flat_map(|target| <[String; 2]>::from(target.pair()));
        let pairs = pairs.map(|path| self.instance.guest.path(&path));
        let mut command = Command::new(self.instance.guest.path(PROGRAM));
        command
            .args(pairs)
            .uid(ALICE)
            .gid(ALICE)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Alice(command.spawn().expect("a program of hers can be run"))
    }

    /// What she has got: her files with the token, and whether root's file is another.
    fn spoils(&self) -> Vec<String> {
        let mut spoils = Vec::new();
        if look_at(&self.instance.guest.path(VICTIM)) != self.victim_before {
            spoils.push("root's file was changed".to_owned());
        }
        let there: Vec<_> = entries(&self.instance.guest.path("/root/victim"));
        if there.len() != 1 {
            spoils.push(format!("root's directory holds {there:?}"));
        }
        let mut files = Vec::new();
        collect(&self.instance.guest.path(HOME), &mut files);
        for file in files {
            let meta = file.symlink_metadata().expect("she does nothing more");
            let hers = meta.uid() == ALICE || meta.mode() & 0o004 != 0;
            let content = std::fs::read(&file).expect("root may");
            if hers && content.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
                spoils.push(format!("she can read the token in {}", file.display()));
            }
        }
        spoils
    }

    /// How many targets have got what the context gives them.
    fn substituted(&self) -> usize {
        let mut files = Vec::new();
        collect(&self.instance.guest.path(HOME), &mut files);
        let has = |file: &PathBuf, text: &str| {
            String::from_utf8_lossy(&std::fs::read(file).expect("root may")).contains(text)
        };
        files.iter().filter(|file| has(file, ADDRESS) || has(file, SECRET)).count()
    }
}

/// Her program.
struct Alice(Child);

impl Alice {
    /// Ends it; how often it has swapped something.
    fn stop(mut self) -> u64 {
        drop(self.0.stdin.take().map(|mut stdin| stdin.flush()));
        let output = self.0.wait_with_output().expect("it ends with its input");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("it prints a number")
    }
}

fn look_at(file: &Path) -> (Vec<u8>, u32, u32, u64) {
    let meta = file.metadata().expect("it is there");
    (std::fs::read(file).expect("root may"), meta.mode(), meta.uid(), meta.ino())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("it can be read").path())
        .collect()
}

/// Every regular file that is not reached through a link.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in entries(directory) {
        let meta = entry.symlink_metadata().expect("it is there");
        if meta.is_dir() {
            collect(&entry, files);
        } else if meta.is_file() {
            files.push(entry);
        }
    }
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("left out, since it needs root: races against another user");
    }
    is_root
}

#[test]
fn a_hostile_user_changes_nothing_of_roots_and_reads_no_secret() {
    if !is_root() {
        return;
    }
    let wanted = std::env::var("RACES").ok().map_or(RACES, |races| races.parse().expect("RACES is a number"));
    let arena = Arena::new();
    let (mut races, mut boots, mut swaps, mut substituted, mut refused) = (0, 0, 0, 0, 0);
    while races < wanted {
        let is_first = boots % 2 == 0;
        arena.lay_down();
        if is_first {
            arena.instance.forget();
        }
        let alice = arena.alice();
        let mut agent = arena.instance.start();
        if is_first {
            agent.wait_until_it_says("waiting until the master is ready");
            arena.instance.master_is_ready();
        }
        let finished = agent.finish();
        swaps += alice.stop();
        expect_an_end(&finished);
        assert_eq!(
            arena.spoils(),
            Vec::<String>::new(),
            "boot {boots}, the agent said:\n{}",
            finished.stderr
        );
        races += arena.targets.len();
        boots += 1;
        substituted += arena.substituted();
        refused += usize::from(finished.status == 74);
    }
    println!(
        "{races} races in {boots} boots, {swaps} swaps: 0 files of root's changed, 0 secrets read; \
         {substituted} files substituted, {refused} boots with a refusal"
    );
    assert!(substituted > races / 20, "the agent substitutes nothing: {substituted}");
    assert!(swaps > 100, "{swaps}");
}

/// Done, or a file refused: never hung, never a crash.
#[track_caller]
fn expect_an_end(finished: &Finished) {
    assert!([0, 74].contains(&finished.status), "{}: {}", finished.status, finished.stderr);
}

/// The same attacks on a program that reads before the wait and writes after it, by path: they succeed.
#[test]
fn the_races_are_won_against_a_program_that_goes_by_path() {
    if !is_root() {
        return;
    }
    let arena = Arena::new();
    let mut spoils = Vec::new();
    for _ in 0..200 {
        arena.lay_down();
        let alice = arena.alice();
        substitute_by_path(&arena);
        alice.stop();
        spoils = arena.spoils();
        if !spoils.is_empty() {
            break;
        }
    }
    assert!(!spoils.is_empty(), "no race was won in 200 rounds: the races show nothing");
    println!("against a program that goes by path: {spoils:?}");
}

/// What the agent did at first: the content of then, by rename, where the path leads now, with the owner of what is there.
fn substitute_by_path(arena: &Arena) {
    let paths: Vec<_> =
        arena.targets.iter().map(|target| arena.instance.guest.path(&target.path())).collect();
    let is_file = |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file());
    let read: Vec<_> =
        paths.iter().filter(|path| is_file(path)).map(|path| (path, std::fs::read_to_string(path))).collect();
    for (path, content) in read {
        let (Ok(content), Ok(target)) = (content, path.canonicalize()) else { continue };
        let Ok(meta) = target.metadata() else { continue };
        if !meta.is_file() || !content.contains("_PLACEHOLDER###") {
            continue;
        }
        let new = target.with_file_name(".new");
        if std::fs::write(&new, content.replace(IP, ADDRESS).replace(TOKEN, SECRET)).is_ok() {
            let _ = chown(&new, Some(meta.uid()), Some(meta.gid()));
            let _ = std::fs::set_permissions(&new, meta.permissions());
            let _ = std::fs::rename(&new, &target);
        }
    }
}
