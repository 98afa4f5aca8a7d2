// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// watch on a terminal: draws what has changed, and waits for keys, signals and time.

import TldctlKernel
import Glibc
import TldctlModel

/// An escape character may be the beginning of an arrow key, whose rest comes within this.
private let escapeMilliseconds: Int32 = 50

struct WatchScreen {
  let source: WatchSource
  var view: WatchView
  let types: ValueTypes
  var pace: Pace
  let usesColor: Bool

  private var decoder = KeyDecoder()
  /// What the terminal shows; nil where that is not known.
  private var shown: [WatchLine?] = []

  init(source: WatchSource, view: WatchView, types: ValueTypes, pace: Pace, usesColor: Bool) {
    self.source = source
    self.view = view
    self.types = types
    self.pace = pace
    self.usesColor = usesColor
  }

  mutating func run() throws(Failure) {
    if pace.readingEnded(after: source.took) { source.letGo() }
    while !view.isDone {
      try draw()
      guard try wait() else { continue }
      guard !pace.isOver, !source.hasEnded else { return }
      try source.read()
      if pace.readingEnded(after: source.took) { source.letGo() }
    }
  }

  /// Until something happens; whether it is time to read.
  private mutating func wait() throws(Failure) -> Bool {
    let left = view.isPaused ? -1 : pace.milliseconds
    if left == 0 && !decoder.isWaiting {
      // Keys are not to wait until there is nothing to read.
      try take(events: ctldctl_screen_wait(0))
      return !view.isPaused
    }
    let limit = decoder.isWaiting && (left < 0 || left > escapeMilliseconds) ? escapeMilliseconds : left
    try take(events: ctldctl_screen_wait(limit))
    return !view.isPaused && pace.milliseconds == 0
  }

  private mutating func take(events: Int32) throws(Failure) {
    if events & Int32(CTLDCTL_SCREEN_GONE.rawValue) != 0 {
      throw Failure(.other, "the terminal has gone")
    }
    if events & Int32(CTLDCTL_SCREEN_REDRAW.rawValue) != 0 { shown = [] }
    let wasPaused = view.isPaused
    if events & Int32(CTLDCTL_SCREEN_KEYS.rawValue) != 0 {
      for key in decoder.take(try typed()) { press(key) }
    } else {
      for key in decoder.flush() { press(key) }
    }
    // What changed in between is nobody's rate, and no map is kept meanwhile.
    if wasPaused, !view.isPaused { source.forgetChanges() }
    if !wasPaused, view.isPaused { source.letGo() }
  }

  private mutating func press(_ key: WatchKey) {
    if key == .redraw { shown = [] }
    view.press(key)
  }

  private func typed() throws(Failure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 256)
    let length = bytes.withUnsafeMutableBytes { ctldctl_screen_read($0.baseAddress, $0.count) }
    guard length >= 0 else { throw Failure.system("the terminal cannot be read", errno: -length) }
    return Array(bytes.prefix(Int(length)))
  }

  /// Only lines that differ from what is there.
  private mutating func draw() throws(Failure) {
    var height: Int32 = 0, width: Int32 = 0
    ctldctl_screen_size(&height, &width)
    let lines = view.screen(source.table, types, width: Int(width), height: Int(height), note: source.note)
    var bytes: [UInt8] = []
    if shown.count != lines.count {
      shown = Array(repeating: nil, count: lines.count)
      bytes += "\u{1b}[2J".utf8
    }
    for (row, line) in lines.enumerated() where line != shown[row] {
      bytes += "\u{1b}[\(row + 1);1H\u{1b}[2K".utf8
      bytes += styled(line).utf8
    }
    shown = lines
    let error = bytes.withUnsafeBytes { ctldctl_screen_write($0.baseAddress, $0.count) }
    guard error == 0 else { throw Failure.system("the terminal cannot be written", errno: -error) }
  }

  private func styled(_ line: WatchLine) -> String {
    guard usesColor, !line.text.isEmpty else { return line.text }
    switch line.kind {
    case .plain: return line.text
    case .status: return "\u{1b}[2m\(line.text)\u{1b}[0m"
    case .header: return "\u{1b}[7m\(line.text)\u{1b}[0m"
    case .hint: return "\u{1b}[1m\(line.text)\u{1b}[0m"
    }
  }
}
