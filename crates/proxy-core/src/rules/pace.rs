//! Slower: delays and throttles.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
};

/// The longest delay, in milliseconds: an hour.
pub const MAX_DELAY_MS: u64 = 3_600_000;

/// A wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// How long, in milliseconds, at most [`MAX_DELAY_MS`].
    #[serde(deserialize_with = "bounded_ms")]
    pub ms: u64,
    /// Up to this much longer, by chance, in milliseconds, at most [`MAX_DELAY_MS`].
    #[serde(default, deserialize_with = "bounded_ms", skip_serializing_if = "is_zero")]
    pub jitter_ms: u64,
}

impl Delay {
    /// How long, for a number from 0 to 1.
    #[must_use]
    pub fn duration(&self, luck: f64) -> Duration {
        let jitter = Duration::from_millis(self.jitter_ms.min(MAX_DELAY_MS));
        Duration::from_millis(self.ms.min(MAX_DELAY_MS)) + jitter.mul_f64(luck.clamp(0.0, 1.0))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

pub(super) fn bounded_ms<'de, D: Deserializer<'de>>(source: D) -> Result<u64, D::Error> {
    let ms = u64::deserialize(source)?;
    if ms > MAX_DELAY_MS {
        return Err(de::Error::custom(format_args!("a wait is at most {MAX_DELAY_MS} milliseconds")));
    }
    Ok(ms)
}

/// A slow network: so many bytes a second in each direction, for each exchange, and a round trip's latency before the
/// request goes on.
///
/// In files a preset's name, `throttle = "3G"`, or the figures, of which those left out do not slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Throttle {
    /// From upstream to the client, in bytes a second.
    pub down_bytes_per_second: Option<u64>,
    /// From the client to upstream, in bytes a second.
    pub up_bytes_per_second: Option<u64>,
    /// A round trip, in milliseconds.
    pub latency_ms: u64,
    preset: Option<Preset>,
}

/// A network known by its usual name. The figures are the connection profiles of WebPageTest (dial-up, 3G, 4G, FIOS'
/// latency) where it has one, else the name's own (256k both ways; fibre 100 Mbit/s both ways), and for 5G the data
/// rates and twice the one-way latency that ITU-R M.2410 asks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preset {
    /// A 56k modem: 49 kbit/s down, 30 kbit/s up, 120 ms.
    Modem56k,
    /// ISDN and early DSL: 256 kbit/s both ways, 50 ms.
    Isdn256k,
    /// 3G: 1.6 Mbit/s down, 768 kbit/s up, 300 ms.
    ThreeG,
    /// 4G: 9 Mbit/s both ways, 170 ms.
    FourG,
    /// 5G: 100 Mbit/s down, 50 Mbit/s up, 8 ms.
    FiveG,
    /// Fibre: 100 Mbit/s both ways, 4 ms.
    Fibre,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Modem56k, Self::Isdn256k, Self::ThreeG, Self::FourG, Self::FiveG, Self::Fibre];

    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Modem56k => "56k",
            Self::Isdn256k => "256k",
            Self::ThreeG => "3G",
            Self::FourG => "4G",
            Self::FiveG => "5G",
            Self::Fibre => "fibre",
        }
    }

    /// Finds one by its name, in whatever case; `100mbps` is fibre.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let fibre = ["100mbps", "fiber"].iter().any(|other| name.eq_ignore_ascii_case(other));
        let found = Self::ALL.into_iter().find(|preset| name.eq_ignore_ascii_case(preset.name()));
        found.or(fibre.then_some(Self::Fibre))
    }

    /// Kilobits a second down and up, and a round trip in milliseconds.
    fn figures(self) -> (u64, u64, u64) {
        match self {
            Self::Modem56k => (49, 30, 120),
            Self::Isdn256k => (256, 256, 50),
            Self::ThreeG => (1_600, 768, 300),
            Self::FourG => (9_000, 9_000, 170),
            Self::FiveG => (100_000, 50_000, 8),
            Self::Fibre => (100_000, 100_000, 4),
        }
    }
}

impl From<Preset> for Throttle {
    fn from(preset: Preset) -> Self {
        let (down, up, latency_ms) = preset.figures();
        Self {
            down_bytes_per_second: Some(down * 1000 / 8),
            up_bytes_per_second: Some(up * 1000 / 8),
            latency_ms,
            preset: Some(preset),
        }
    }
}

impl Throttle {
    /// Slows to so many bytes a second, at least one, and adds a round trip.
    #[must_use]
    pub fn new(down: Option<u64>, up: Option<u64>, latency: Duration) -> Self {
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX).min(MAX_DELAY_MS);
        let [down, up] = [down, up].map(|rate| rate.map(|rate| rate.max(1)));
        Self { down_bytes_per_second: down, up_bytes_per_second: up, latency_ms, preset: None }
    }

    /// The preset it is, if it is one.
    #[must_use]
    pub fn preset(&self) -> Option<Preset> {
        self.preset
    }
}

impl fmt::Display for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(preset) = self.preset {
            return f.write_str(preset.name());
        }
        let mut parts = Vec::new();
        parts.extend(self.down_bytes_per_second.map(|rate| format!("{rate} bytes/s down")));
        parts.extend(self.up_bytes_per_second.map(|rate| format!("{rate} bytes/s up")));
        parts.extend((self.latency_ms > 0).then(|| format!("{} ms", self.latency_ms)));
        f.write_str(&parts.join(", "))
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    down_bytes_per_second: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    up_bytes_per_second: Option<u64>,
    #[serde(default, deserialize_with = "bounded_ms", skip_serializing_if = "is_zero")]
    latency_ms: u64,
}

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = Throttle;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("56k, 256k, 3G, 4G, 5G, fibre, or a map with figures")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Throttle, E> {
        Preset::named(name)
            .map(Throttle::from)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Throttle, A::Error> {
        let form = Form::deserialize(MapAccessDeserializer::new(map))?;
        let rates = [form.down_bytes_per_second, form.up_bytes_per_second];
        if rates.contains(&Some(0)) {
            return Err(de::Error::custom("a rate is at least one byte a second; to stop, use `time_out`"));
        }
        Ok(Throttle::new(rates[0], rates[1], Duration::from_millis(form.latency_ms)))
    }
}

impl<'de> Deserialize<'de> for Throttle {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Reader)
    }
}

impl Serialize for Throttle {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        if let Some(preset) = self.preset {
            return sink.serialize_str(preset.name());
        }
        let Self { down_bytes_per_second, up_bytes_per_second, latency_ms, .. } = *self;
        Form { down_bytes_per_second, up_bytes_per_second, latency_ms }.serialize(sink)
    }
}
