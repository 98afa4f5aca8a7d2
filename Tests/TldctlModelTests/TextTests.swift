// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import Testing
import TldctlModel

private func text(_ json: JSON) -> String { String(decoding: json.serialized, as: UTF8.self) }

@Suite struct TextTests {
  @Test("JSON has integers as strings where a double cannot hold them")
  func integers() {
    #expect(text(.integer(UInt64(1) << 53)) == "9007199254740992\n")
    #expect(text(.integer(UInt64(1) << 53 + 1)) == "\"9007199254740993\"\n")
    #expect(text(.integer(Int64.min)) == "\"-9223372036854775808\"\n")
    #expect(text(.real(.infinity)) == "\"inf\"\n")
    #expect(text(.real(1e300)) == "1e+300\n")
  }

  @Test("JSON's strings are quoted, and what is shallow takes one line")
  func shape() {
    #expect(text(.string("a\"\\\n")) == #""a\"\\\u000a""# + "\n")
    #expect(text(.object([("a", .null), ("b", .bool(true))])) == "{\"a\": null, \"b\": true}\n")
    #expect(text(.object([("a", .array([.object([("x", .integer(1))])]))])) == """
      {
        "a": [
          {"x": 1}
        ]
      }

      """)
    #expect(text(.array([])) == "[]\n")
  }

  @Test("A table's columns are as wide as what is in them, wide characters counted as two")
  func table() {
    var table = Table([("N", .right), ("NAME", .left), ("V", .right)])
    table.add(["1", "大", "100"])
    table.add(["200", "abc", "-"])
    #expect(table.lines() == ["  N  NAME    V", "  1  大    100", "200  abc     -"])
    #expect(table.lines(indent: 2, limit: 10) == ["    N  NA…", "    1  大…", "  200  ab…"])
  }

  @Test("A line is cut at the terminal's width, and says so")
  func cutting() {
    #expect(cut("abcdef", to: 6) == "abcdef")
    #expect(cut("abcdefg", to: 6) == "abcde…")
    #expect(cut("大大大", to: 4) == "大…")
    #expect(cut("abc", to: nil) == "abc")
  }

  @Test("A failure says what, why, and what to do")
  func failure() {
    #expect(Failure(.other, "what", why: "why", advice: "do").message == "what: why; do")
    #expect(Failure(.other, "what").message == "what")
    #expect(Failure.system("x", errno: 1).status == .noPermission)
    #expect(Failure.system("x", errno: 95).status == .kernelCannot)
    #expect(Failure.system("x", errno: 3).status == .notFound)
    #expect(Failure.system("x", errno: 12).status == .other)
    #expect(ExitStatus.allCases.map(\.rawValue) == [0, 1, 3, 4, 5, 64])
  }
}
