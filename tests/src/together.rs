//! Runs cases that mostly wait at the same time.

/// Checks every case in a thread of its own.
///
/// # Panics
/// When a case does; its own message is in the test's output.
pub fn together<T: Send>(cases: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        let check = &check;
        for case in cases {
            scope.spawn(move || check(case));
        }
    });
}
