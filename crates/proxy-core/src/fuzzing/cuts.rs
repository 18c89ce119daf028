//! Where the network cuts a stream, said by the fuzzer.

/// Splits the places where the stream is cut off the front of the data: one octet says how many there are, and each of
/// them is one octet of how far it is from the one before.
pub(super) fn split(data: &[u8]) -> (Vec<usize>, &[u8]) {
    let Some((count, rest)) = data.split_first() else { return (Vec::new(), data) };
    let (cuts, rest) = rest.split_at(usize::from(count % 8).min(rest.len()));
    let mut at = 0;
    let cuts = cuts.iter().map(|step| {
        at += usize::from(*step);
        at
    });
    (cuts.collect(), rest)
}

/// Cuts a stream at these places.
pub(super) fn pieces<'d>(data: &'d [u8], cuts: &[usize]) -> Vec<&'d [u8]> {
    let mut begin = 0;
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    for end in cuts.iter().map(|cut| (*cut).min(data.len())).chain([data.len()]) {
        pieces.push(&data[begin..end]);
        begin = end;
    }
    pieces
}
