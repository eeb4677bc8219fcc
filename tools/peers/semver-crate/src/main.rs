// Compares versions as the crate semver orders them, without their build metadata: a line "A B" gives -1, 0, 1, or "none".
use semver::Version;
use std::io::{stdin, BufRead};

fn main() {
    for line in stdin().lock().lines() {
        let line = line.expect("a line");
        let (a, b) = line.split_once(' ').expect("two versions");
        match (Version::parse(a), Version::parse(b)) {
            (Ok(a), Ok(b)) => println!("{}", a.cmp_precedence(&b) as i8),
            _ => println!("none"),
        }
    }
}
