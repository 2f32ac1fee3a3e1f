//! Who is talking: the language and version fields of a frame.

macro_rules! languages {
    ($($variant:ident = $code:literal, $name:literal;)*) => {
        /// The language of the peer's implementation.
        ///
        /// Some answers depend on it (a reset-offset push has another body for C++ clients).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Language {
            $(#[doc = concat!("`", $name, "` (", $code, ").")] $variant = $code,)*
        }

        impl Language {
            /// Every language, by code.
            pub const ALL: &'static [Language] = &[$(Language::$variant,)*];

            /// The name in JSON headers.
            pub const fn name(self) -> &'static str {
                match self { $(Language::$variant => $name,)* }
            }

            /// The language of that name; an unknown name is [`Language::Other`].
            pub fn from_name(name: &str) -> Self {
                match name { $($name => Language::$variant,)* _ => Language::Other }
            }

            /// The language of that code in ROCKETMQ headers; an unknown code is [`Language::Other`].
            pub const fn from_code(code: u8) -> Self {
                match code { $($code => Language::$variant,)* _ => Language::Other }
            }

            /// The code in ROCKETMQ headers.
            pub const fn code(self) -> u8 {
                self as u8
            }
        }
    };
}

languages! {
    Java = 0, "JAVA";
    Cpp = 1, "CPP";
    Dotnet = 2, "DOTNET";
    Python = 3, "PYTHON";
    Delphi = 4, "DELPHI";
    Erlang = 5, "ERLANG";
    Ruby = 6, "RUBY";
    Other = 7, "OTHER";
    Http = 8, "HTTP";
    Go = 9, "GO";
    Php = 10, "PHP";
    Oms = 11, "OMS";
    Rust = 12, "RUST";
    NodeJs = 13, "NODE_JS";
}

macro_rules! versions {
    ($($name:ident = $ordinal:literal;)*) => {
        $(#[doc = concat!("The ordinal of ", stringify!($name), ".")] pub const $name: i32 = $ordinal;)*

        /// The name of a version's ordinal, where it is one of those listed here.
        pub const fn name(ordinal: i32) -> Option<&'static str> {
            match ordinal {
                $($ordinal => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

versions! {
    V3_4_9 = 121;
    V4_1_0_SNAPSHOT = 232;
    V4_2_0 = 253;
    V4_3_0 = 273;
    V4_4_0 = 293;
    V4_5_0 = 313;
    V4_6_0 = 333;
    V4_7_0 = 353;
    V4_8_0 = 373;
    V4_9_0 = 393;
    V4_9_3 = 399;
    V4_9_4 = 401;
    V4_9_8 = 409;
    V5_0_0 = 413;
    V5_1_0 = 433;
    V5_1_4 = 441;
    V5_2_0 = 453;
    V5_3_0 = 473;
    V5_3_1 = 475;
    V5_3_2 = 477;
    V5_3_3 = 479;
    V5_3_4 = 481;
    V5_4_0 = 493;
    V5_5_0 = 513;
}

/// What we say we are: new enough for every client that asks (SQL filters need 232, GO_AWAY 475).
pub const OURS: i32 = V5_3_3;
