pub(super) fn run(_: &mut super::Run) -> crate::trouble::Outcome<()> {
    Ok(())
}
