// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// How a TLD's bytes are shown, and how what a person enters becomes bytes (--as).

/// What `--as` takes behind the "=".
public enum ValueType: String, CaseIterable, Sendable {
  case u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, hex, str

  /// What a TLD of that size is shown as unless somebody says otherwise.
  public static func standard(size: Int) -> ValueType {
    switch size {
    case 1: .u8
    case 2: .u16
    case 4: .u32
    case 8: .u64
    default: .hex
    }
  }

  /// The size that it must have; nil for those that take any.
  public var size: Int? {
    switch self {
    case .u8, .i8: 1
    case .u16, .i16: 2
    case .u32, .i32, .f32: 4
    case .u64, .i64, .f64: 8
    case .hex, .str: nil
    }
  }

  public func fits(size: Int) -> Bool {
    self.size.map { $0 == size } ?? true
  }
}

/// A TLD's bytes as a type understands them.
public enum Value: Equatable, Sendable {
  case unsigned(UInt64)
  case signed(Int64)
  case real(Double)
  case single(Float)
  case bytes([UInt8])
  case string([UInt8])

  /// `bytes` must be as many as the type has.
  public init(_ bytes: some Collection<UInt8>, as type: ValueType) {
    let number = bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    switch type {
    case .u8, .u16, .u32, .u64: self = .unsigned(number)
    case .i8: self = .signed(Int64(Int8(truncatingIfNeeded: number)))
    case .i16: self = .signed(Int64(Int16(truncatingIfNeeded: number)))
    case .i32: self = .signed(Int64(Int32(truncatingIfNeeded: number)))
    case .i64: self = .signed(Int64(bitPattern: number))
    case .f32: self = .single(Float(bitPattern: UInt32(truncatingIfNeeded: number)))
    case .f64: self = .real(Double(bitPattern: number))
    case .hex: self = .bytes(Array(bytes))
    case .str: self = .string(Array(bytes.prefix { $0 != 0 }))
    }
  }

  /// For people, and for scripts: without quotes, escaped.
  public var text: String {
    switch self {
    case .unsigned(let number): String(number)
    case .signed(let number): String(number)
    case .real(let number): "\(number)"
    case .single(let number): "\(number)"
    case .bytes(let bytes): hex(bytes)
    case .string(let bytes): escaped(bytes)
    }
  }

  public var json: JSON {
    switch self {
    case .unsigned(let number): .integer(number)
    case .signed(let number): .integer(number)
    case .real(let number): .real(number)
    case .single(let number): .real(Double(number))
    case .bytes, .string: .string(text)
    }
  }
}

/// What all `--as NAME=TYPE` ask for.
public struct ValueTypes: Equatable, Sendable {
  private var types: [[UInt8]: ValueType] = [:]

  public init() {}

  public init(parsing arguments: [String]) throws(Failure) {
    for argument in arguments {
      guard let equals = argument.lastIndex(of: "="), equals != argument.startIndex else {
        throw Failure(.usage, "'\(escaped(argument))' is no NAME=TYPE", advice: "write --as request=i32")
      }
      let name = String(argument[..<equals]), word = String(argument[argument.index(after: equals)...])
      guard let type = ValueType(rawValue: word) else {
        throw Failure(
          .usage, "'\(escaped(word))' is no type",
          advice: "there are " + ValueType.allCases.map(\.rawValue).joined(separator: ", "))
      }
      types[unescaped(name) ?? Array(name.utf8)] = type
    }
  }

  /// The type to show a TLD as; one that does not fit its size does not count.
  public func type(of name: [UInt8], size: Int) -> ValueType {
    if let type = types[name], type.fits(size: size) { return type }
    return .standard(size: size)
  }

  /// The type that was asked for, or the standard one; an error if it does not fit.
  public func required(of name: [UInt8], size: Int) throws(Failure) -> ValueType {
    guard let type = types[name] else { return .standard(size: size) }
    guard let wanted = type.size, wanted != size else { return type }
    throw Failure(
      .usage, "\(escaped(name)) has \(count(size, "byte")), and \(type.rawValue) takes \(wanted)",
      advice: "choose a type of that size, or hex or str")
  }

  /// The names that were asked for in a type that a TLD's size does not fit.
  public func misfits(_ tlds: some Sequence<TLD>) -> [TLD] {
    tlds.filter { tld in types[tld.name].map { !$0.fits(size: tld.size) } ?? false }
  }
}

/// "1 byte", "2 bytes".
public func count(_ number: Int, _ noun: String) -> String {
  "\(number) \(noun)\(number == 1 ? "" : noun.hasSuffix("s") ? "es" : "s")"
}
