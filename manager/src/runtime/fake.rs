/// A runtime in memory, for tests.
#[derive(Default)]
pub struct FakeRuntime;
