//! How large the states of asynchronous functions are, for the tests that bound them.

/// The bytes of what an asynchronous function returns; one of several arguments is given as a function of a tuple.
pub(crate) fn future_bytes<A, F: Future>(_function: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}
