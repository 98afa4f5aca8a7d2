// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Where words go: standard output, standard error, and what is known of the terminal.

import ArgumentParser
import Glibc
import TldctlModel

/// Writes all to standard output. A reader that has gone ends the program without a word.
func output(_ bytes: [UInt8]) {
  var rest = bytes[...]
  while !rest.isEmpty {
    let written = rest.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
    if written >= 0 {
      rest = rest.dropFirst(written)
    } else if errno == EPIPE {
      exit(ExitStatus.other.rawValue)
    } else if errno != EINTR && errno != EAGAIN {
      complain("standard output cannot be written: \(describe(errno: errno))")
      exit(ExitStatus.other.rawValue)
    }
  }
}

func output(_ text: String) {
  output(Array(text.utf8))
}

func output(lines: [String]) {
  output(lines.joined(separator: "\n") + "\n")
}

/// One message on standard error.
func complain(_ message: String) {
  let bytes = Array("tldctl: \(message)\n".utf8)
  _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
}

func environment(_ name: String) -> String? {
  getenv(name).map { String(cString: $0) }
}

/// The width that lines are cut at: COLUMNS, else the terminal's; nil for files and pipes.
func outputWidth() -> Int? {
  if let columns = environment("COLUMNS").flatMap({ Int($0) }), columns > 0 { return columns }
  guard isatty(1) == 1 else { return nil }
  var size = winsize()
  guard ioctl(1, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
  return Int(size.ws_col)
}

enum ColorChoice: String, ExpressibleByArgument, CaseIterable {
  case auto, always, never
}

/// Options of every command that shows something.
struct OutputOptions: ParsableArguments {
  @Flag(help: "Show JSON (docs/reference/tldctl.schema.json).")
  var json = false

  @Option(help: "Colour: auto, always or never. NO_COLOR is respected.")
  var color = ColorChoice.auto

  var usesColor: Bool {
    switch color {
    case .always: true
    case .never: false
    case .auto: isatty(1) == 1 && (environment("NO_COLOR") ?? "").isEmpty && environment("TERM") != "dumb"
    }
  }

  func bold(_ text: String) -> String { usesColor ? "\u{1b}[1m\(text)\u{1b}[0m" : text }
  func warning(_ text: String) -> String { usesColor ? "\u{1b}[33m\(text)\u{1b}[0m" : text }
  func good(_ text: String) -> String { usesColor ? "\u{1b}[32m\(text)\u{1b}[0m" : text }
  func bad(_ text: String) -> String { usesColor ? "\u{1b}[31m\(text)\u{1b}[0m" : text }
}
