// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A picture as SVG: rectangles, paths and texts, of which it is known how much space they take.

/// Text in a font whose characters are all equally wide, so that its box can be computed.
public struct DrawnText: Equatable, Sendable {
  public enum Anchor: String, Sendable { case start, middle, end }

  public let text: String
  /// Of the anchor, on the line that the letters stand on.
  public let x: Double, y: Double
  public let size: Double
  public let anchor: Anchor
  public let isBold: Bool

  /// A little more than any of the fonts takes, per font size.
  public static let advance = 0.62, ascent = 0.8, descent = 0.25

  public init(_ text: String, x: Double, y: Double, size: Double = 12, anchor: Anchor = .start, isBold: Bool = false) {
    self.text = text
    self.x = x
    self.y = y
    self.size = size
    self.anchor = anchor
    self.isBold = isBold
  }

  public static func width(_ text: String, size: Double) -> Double {
    Double(TldctlModel.width(text)) * advance * size
  }

  public var box: Box {
    let width = Self.width(text, size: size)
    let left =
      switch anchor {
      case .start: x
      case .middle: x - width / 2
      case .end: x - width
      }
    return Box(left: left, top: y - Self.ascent * size, right: left + width, bottom: y + Self.descent * size)
  }
}

public struct Box: Equatable, Sendable {
  public var left: Double, top: Double, right: Double, bottom: Double

  public init(left: Double, top: Double, right: Double, bottom: Double) {
    self.left = left
    self.top = top
    self.right = right
    self.bottom = bottom
  }

  public func overlaps(_ other: Box) -> Bool {
    left < other.right && other.left < right && top < other.bottom && other.top < bottom
  }

  public func contains(_ other: Box) -> Bool {
    left <= other.left && top <= other.top && right >= other.right && bottom >= other.bottom
  }
}

public struct Drawing: Sendable {
  public var width: Double
  public var height: Double = 0
  public private(set) var texts: [DrawnText] = []
  private let title: String
  private let description: String
  private var definitions = ""
  private var body = ""

  public init(width: Double, title: String, description: String) {
    self.width = width
    self.title = title
    self.description = description
  }

  /// SVG that others refer to.
  mutating func define(_ svg: String) { definitions += svg + "\n" }

  mutating func add(_ text: DrawnText) {
    guard !text.text.isEmpty else { return }
    texts.append(text)
    body += "<text x=\"\(number(text.x))\" y=\"\(number(text.y))\" font-size=\"\(number(text.size))\""
    if text.anchor != .start { body += " text-anchor=\"\(text.anchor.rawValue)\"" }
    if text.isBold { body += " font-weight=\"bold\"" }
    body += ">\(xml(text.text))</text>\n"
  }

  mutating func rectangle(x: Double, y: Double, width: Double, height: Double, fill: String, stroke: String? = nil) {
    body += "<rect x=\"\(number(x))\" y=\"\(number(y))\" width=\"\(number(max(width, 0)))\" height=\"\(number(height))\" fill=\"\(fill)\""
    if let stroke { body += " stroke=\"\(stroke)\"" }
    body += "/>\n"
  }

  mutating func path(_ commands: String, fill: String) {
    guard !commands.isEmpty else { return }
    body += "<path fill=\"\(fill)\" d=\"\(commands)\"/>\n"
  }

  mutating func line(x1: Double, y1: Double, x2: Double, y2: Double, stroke: String) {
    body += "<line x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" y2=\"\(number(y2))\" stroke=\"\(stroke)\"/>\n"
  }

  public var svg: [UInt8] {
    let text = """
      <?xml version="1.0" encoding="UTF-8"?>
      <svg xmlns="http://www.w3.org/2000/svg" width="\(number(width))" height="\(number(height))" \
      viewBox="0 0 \(number(width)) \(number(height))" role="img" \
      font-family="DejaVu Sans Mono, Liberation Mono, Menlo, Consolas, monospace" fill="#111111">
      <title>\(xml(title))</title>
      <desc>\(xml(description))</desc>
      <defs>
      \(definitions)</defs>
      <rect width="100%" height="100%" fill="#ffffff"/>
      \(body)</svg>

      """
    return Array(text.utf8)
  }
}

/// A coordinate, to a hundredth.
func number(_ value: Double) -> String {
  let text = fixed(value, 2)
  guard text.hasSuffix("0") else { return text }
  return text.hasSuffix(".00") ? String(text.dropLast(3)) : String(text.dropLast())
}

/// Text as XML has it. What XML cannot hold at all becomes U+FFFD.
func xml(_ text: String) -> String {
  var out = ""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "&": out += "&amp;"
    case "<": out += "&lt;"
    case ">": out += "&gt;"
    case "\"": out += "&quot;"
    case "\u{0}"..<"\u{20}", "\u{fffe}", "\u{ffff}": out += "\u{fffd}"
    default: out.unicodeScalars.append(scalar)
    }
  }
  return out
}
