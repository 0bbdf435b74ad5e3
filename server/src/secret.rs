//! The secrets of clusters that this program makes.

use protocol::Secret;

/// A secret that has never been outside this program.
///
/// # Errors
/// The system has no randomness to give.
pub fn make() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; Secret::BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_another_one_each_time() {
        assert!(make().unwrap() != make().unwrap());
    }
}
