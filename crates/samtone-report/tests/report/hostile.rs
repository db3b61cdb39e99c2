//! Texts from the worst of data sets.

/// A hundred texts that break careless pages.
pub(crate) fn texts() -> Vec<String> {
    let seeds = [
        "<script>window.pwned = true</script>".to_owned(),
        "</script><script>window.pwned = true</script>".to_owned(),
        "</script x><script y>window.pwned = true</script z> <!-- <script ".to_owned(),
        "<img src=x onerror=\"window.pwned = true\">".to_owned(),
        "<svg onload=window.pwned=true>".to_owned(),
        "\"><iframe src=https://example.org></iframe>".to_owned(),
        "' onmouseover='window.pwned=true' x='".to_owned(),
        "<!-- <script> --!> ]]> <![CDATA[".to_owned(),
        "</title></style></textarea><b>bold".to_owned(),
        "&lt;script&gt; &amp;amp; &#0; &unknown;".to_owned(),
        "javascript:window.pwned=true".to_owned(),
        "</figure></main></body></html>".to_owned(),
        "{{constructor.constructor('window.pwned=1')()}} ${window.pwned=1}".to_owned(),
        "\\u003cscript\\u003e \\x3c \\\" \\".to_owned(),
        "url(https://example.org/x.png) } body { display: none }".to_owned(),
        "\u{202e}gnirts desrever a\u{202d} \u{2066}isolated".to_owned(),
        "مرحبا بالعالم، هذا نص طويل من اليمين إلى اليسار".to_owned(),
        "שלום עולם (123) <b>".to_owned(),
        "👩🏽‍🚀👨‍👩‍👧‍👦🏳️‍🌈🇺🇳 e\u{301}\u{302}\u{303}\u{304}".to_owned(),
        format!("Z{}", "\u{334}\u{35d}\u{311}".repeat(200)),
        "nul \0 bell \u{7} escape \u{1b}[31m delete \u{7f} \u{85}".to_owned(),
        "\u{fffe}\u{ffff}\u{fdd0}\u{1ffff} \u{feff}bom \u{200b}zero width".to_owned(),
        String::from_utf8_lossy(b"broken \xff\xfe\xc3\x28 \xed\xa0\x80 utf-8").into_owned(),
        "line\nbreak\r\nand\ttab\u{2028}separator\u{2029}paragraph\u{b}\u{c}".to_owned(),
        "very long ".repeat(20_000),
        "unbroken".repeat(5_000),
        "漢字かな交じり文。".repeat(400),
        String::new(),
        "   ".to_owned(),
        "=HYPERLINK(\"https://example.org\",\"x\")".to_owned(),
        "../../etc/passwd%00".to_owned(),
        "NaN, \"Infinity\"; null\n\"quoted\"".to_owned(),
        "\u{1d573}\u{1d58a}\u{1d591}\u{1d591}\u{1d594} ﷽ ꧅".to_owned(),
        "<a href=\"https://example.org\">link</a>".to_owned(),
        "<base href=//example.org><link rel=stylesheet href=//example.org>".to_owned(),
        "<meta http-equiv=refresh content=\"0;url=https://example.org\">".to_owned(),
    ];
    // The same again in other company: at the end of a text, and doubled around one.
    let after = seeds.iter().map(|text| format!("ordinary words, then {text}"));
    let around = seeds.iter().map(|text| format!("{text} between {text}"));
    seeds.iter().cloned().chain(after).chain(around).take(100).collect()
}
