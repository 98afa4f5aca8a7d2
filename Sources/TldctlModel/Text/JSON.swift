// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// JSON, as much of it as is written. The names of fields are ours and stable, and stay in the
// order in which they were put; docs/reference/tldctl.schema.json describes all of them.

public indirect enum JSON: Equatable, Sendable {
  case null
  case bool(Bool)
  case number(String)
  case string(String)
  case array([JSON])
  case object([(String, JSON)])

  public static func == (left: JSON, right: JSON) -> Bool {
    left.serialized == right.serialized
  }

  /// An integer, as a string where a double, which readers may use, cannot hold it.
  public static func integer(_ number: some BinaryInteger) -> JSON {
    let text = String(number)
    return number.magnitude <= 1 << 53 ? .number(text) : .string(text)
  }

  /// A real number, as a string where JSON has none for it.
  public static func real(_ number: Double) -> JSON {
    number.isFinite ? .number("\(number)") : .string("\(number)")
  }

  /// Bytes of others: escaped as everywhere.
  public static func text(_ bytes: some Collection<UInt8>) -> JSON {
    .string(escaped(bytes))
  }

  public var serialized: [UInt8] {
    var out: [UInt8] = []
    write(to: &out, indent: 0)
    out.append(UInt8(ascii: "\n"))
    return out
  }

  private func write(to out: inout [UInt8], indent: Int) {
    switch self {
    case .null: out += "null".utf8
    case .bool(let value): out += (value ? "true" : "false").utf8
    case .number(let text): out += text.utf8
    case .string(let text): JSON.write(string: text, to: &out)
    case .array(let items):
      write(list: items, open: "[", close: "]", to: &out, indent: indent) { item, out in
        item.write(to: &out, indent: indent + 1)
      }
    case .object(let fields):
      write(list: fields, open: "{", close: "}", to: &out, indent: indent) { field, out in
        JSON.write(string: field.0, to: &out)
        out += ": ".utf8
        field.1.write(to: &out, indent: indent + 1)
      }
    }
  }

  private var isScalar: Bool {
    switch self {
    case .array(let items): items.isEmpty
    case .object(let fields): fields.isEmpty
    default: true
    }
  }

  /// What has only scalars in it takes one line: a value a line, not six.
  private var isOneLine: Bool {
    switch self {
    case .array(let items): items.allSatisfy(\.isScalar)
    case .object(let fields): fields.allSatisfy(\.1.isScalar)
    default: true
    }
  }

  private func write<Item>(
    list: [Item], open: String, close: String, to out: inout [UInt8], indent: Int,
    item write: (Item, inout [UInt8]) -> Void
  ) {
    let isOneLine = self.isOneLine
    out += open.utf8
    for (index, item) in list.enumerated() {
      if index > 0 { out += (isOneLine ? ", " : ",").utf8 }
      if !isOneLine { JSON.newline(indent + 1, to: &out) }
      write(item, &out)
    }
    if !isOneLine { JSON.newline(indent, to: &out) }
    out += close.utf8
  }

  private static func newline(_ indent: Int, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "\n"))
    out += repeatElement(UInt8(ascii: " "), count: 2 * indent)
  }

  private static func write(string: String, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    for byte in string.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): out += [UInt8(ascii: "\\"), byte]
      case 0..<0x20: out += "\\u00\(hex([byte]))".utf8
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}
