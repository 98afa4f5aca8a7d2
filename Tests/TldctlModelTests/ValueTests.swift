// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import Testing
import TldctlModel

@Suite struct ValueTests {
  @Test("Sizes 1, 2, 4 and 8 are unsigned integers, all others hexadecimal")
  func standard() {
    #expect([1, 2, 4, 8, 3, 12].map(ValueType.standard) == [.u8, .u16, .u32, .u64, .hex, .hex])
  }

  @Test("Bytes are shown as their type says", arguments: [
    ([0xff], ValueType.u8, "255"), ([0xff], .i8, "-1"), ([0x34, 0x12], .u16, "4660"), ([0xfe, 0xff], .i16, "-2"),
    ([0xff, 0xff, 0xff, 0xff], .u32, "4294967295"), ([0, 0, 0, 0x80], .i32, "-2147483648"),
    ([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], .u64, "18446744073709551615"),
    ([0, 0, 0, 0, 0, 0, 0, 0x80], .i64, "-9223372036854775808"),
    ([0, 0, 0xc0, 0x3f], .f32, "1.5"), ([0, 0, 0, 0, 0, 0, 0xf0, 0xbf], .f64, "-1.0"),
    ([1, 2, 0xff], .hex, "0102ff"), ([0x68, 0x69, 0, 0x78], .str, "hi"), ([0x1b, 0x5b, 0xff], .str, #"\x1b[\xff"#),
  ] as [([UInt8], ValueType, String)])
  func shown(bytes: [UInt8], type: ValueType, text: String) {
    #expect(Value(bytes, as: type).text == text)
  }

  @Test("What is entered as it is shown gives the same bytes")
  func roundTrip() throws {
    for type in ValueType.allCases {
      for _ in 0..<200 {
        let bytes = (0..<(type.size ?? 5)).map { _ in UInt8.random(in: 1...126) }
        guard type != .str || !bytes.contains(where: { $0 < 0x20 || $0 == 0x5c }) else { continue }
        #expect(try type.bytes(of: Value(bytes, as: type).text, size: bytes.count) == bytes)
      }
    }
  }

  @Test("Entered numbers may be hexadecimal, and negative where the type is signed")
  func entry() throws {
    #expect(try ValueType.u32.bytes(of: "0x1F", size: 4) == [0x1f, 0, 0, 0])
    #expect(try ValueType.i16.bytes(of: "-0x8000", size: 2) == [0, 0x80])
    #expect(try ValueType.u64.bytes(of: "18446744073709551615", size: 8) == [UInt8](repeating: 255, count: 8))
    #expect(try ValueType.f64.bytes(of: "inf", size: 8) == [0, 0, 0, 0, 0, 0, 0xf0, 0x7f])
    #expect(try ValueType.hex.bytes(of: "0x0aFF", size: 2) == [10, 255])
    #expect(try ValueType.str.bytes(of: "hi", size: 4) == [0x68, 0x69, 0, 0])
  }

  @Test("What does not fit is refused, with the range in words", arguments: [
    (ValueType.u8, 1, "256", "0 to 255"), (.u8, 1, "-1", "--as NAME=i8"), (.i8, 1, "128", "-128 to 127"),
    (.i8, 1, "-129", "-128 to 127"), (.u16, 2, "65536", "0 to 65535"), (.u32, 4, "4294967296", "0 to 4294967295"),
    (.u64, 8, "18446744073709551616", "0 to 18446744073709551615"),
    (.i64, 8, "9223372036854775808", "-9223372036854775808 to 9223372036854775807"),
    (.u32, 4, "7x", "not an integer"), (.u32, 4, "", "not an integer"), (.u32, 4, "1.5", "not an integer"),
    (.f32, 4, "1e39", "out of range"), (.f64, 8, "1e999", "out of range"), (.f64, 8, "x", "not a number"),
    (.hex, 2, "0a", "4 hexadecimal digits"), (.hex, 1, "zz", "2 hexadecimal digits"), (.str, 3, "four", "has 4 bytes"),
  ] as [(ValueType, Int, String, String)])
  func refused(type: ValueType, size: Int, text: String, words: String) {
    do {
      _ = try type.bytes(of: text, size: size)
      Issue.record("\(text) is taken for \(type)")
    } catch {
      #expect(error.status == .usage)
      #expect(error.message.contains(words), "\(error.message)")
    }
  }

  @Test("--as names a type, and one that does not fit the size is refused where one value is meant")
  func types() throws {
    let types = try ValueTypes(parsing: ["a=i32", "b=c=str", #"\x1bd=f64"#])
    #expect(types.type(of: Array("a".utf8), size: 4) == .i32)
    #expect(types.type(of: Array("a".utf8), size: 8) == .u64)
    #expect(types.type(of: Array("b=c".utf8), size: 4) == .str)
    #expect(types.type(of: [0x1b, 0x64], size: 8) == .f64, "names are entered as they are shown")
    #expect(try types.required(of: Array("z".utf8), size: 4) == .u32)
    #expect(throws: Failure.self) { try types.required(of: Array("a".utf8), size: 8) }
    for wrong in ["a", "=u8", "a=int", ""] {
      #expect(throws: Failure.self) { try ValueTypes(parsing: [wrong]) }
    }
  }
}
