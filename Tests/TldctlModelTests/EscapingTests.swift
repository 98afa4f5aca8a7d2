// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import Testing
import TldctlModel

@Suite struct EscapingTests {
  @Test("Text that a terminal only shows stays as it is")
  func plain() {
    for text in ["", "request", "größe 大 🎉", "a'b\"c"] { #expect(escaped(text) == text) }
  }

  @Test("Control characters, C1 ones too, and what turns text around are shown as their bytes")
  func controls() {
    #expect(escaped("\u{1b}[31m\n\t\u{7f}") == #"\x1b[31m\x0a\x09\x7f"#)
    #expect(escaped("\u{9b}2J") == #"\xc2\x9b2J"#)
    #expect(escaped("\u{202e}abc\u{2066}\u{200b}\u{feff}") == #"\xe2\x80\xaeabc\xe2\x81\xa6\xe2\x80\x8b\xef\xbb\xbf"#)
  }

  @Test("What is no UTF-8 is shown byte by byte")
  func invalid() {
    #expect(escaped([0xff, 0x61, 0xc3]) == #"\xffa\xc3"#)
    #expect(escaped([0xed, 0xa0, 0x80]) == #"\xed\xa0\x80"#, "a surrogate")
    #expect(escaped([0xc0, 0xaf]) == #"\xc0\xaf"#, "longer than it must be")
    #expect(escaped([0xe2, 0x82, 0x41]) == #"\xe2\x82A"#)
  }

  @Test("A backslash is doubled, so that nothing is lost")
  func inverse() {
    #expect(escaped(#"a\x41"#) == #"a\\x41"#)
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      let bytes = (0..<Int.random(in: 0..<12)).map { _ in
        [UInt8.random(in: 0...255, using: &generator), 0x5c, 0x78, 0xc3, 0xa9, 0x1b].randomElement() ?? 0
      }
      let text = escaped(bytes)
      #expect(unescaped(text) == bytes)
      #expect(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f..<0xa0).contains($0.value) })
    }
  }

  @Test("What escaping does not make is not undone")
  func foreign() {
    for text in [#"\"#, #"\q"#, #"\x4"#, #"\xgg"#] { #expect(unescaped(text) == nil) }
  }
}
