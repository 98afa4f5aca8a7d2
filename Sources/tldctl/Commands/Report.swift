// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl report: a recording as a table, a picture, JSON or a trace. Needs no privilege.

import ArgumentParser
import Glibc
import TldctlModel

struct Report: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what record wrote: on-CPU time and wake-up latency per value.",
    discussion: """
      A stretch of time counts for the value at its end, and MIXED says what part of the time was \
      in stretches at whose beginning it was another one. P50 and P99 are latencies that occurred: the \
      smallest that 50 % and 99 % of the wake-ups did not exceed. A trace opens in Perfetto \
      (https://ui.perfetto.dev) and in chrome://tracing.
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable {
    case table, json, trace
  }

  @Argument(help: "What record wrote; - is standard input.")
  var file: String

  @Option(help: ArgumentHelp("Draw a picture into this file, too.", valueName: "file"))
  var svg: String?

  @Option(help: "table, json (docs/reference/tldctl-report.schema.json) or trace (Chrome's trace event format).")
  var format = Format.table

  @Flag(help: "The same as --format json.")
  var json = false

  @Option(help: ArgumentHelp("Values and processes in the table.", valueName: "n"))
  var top = 20

  @OptionGroup var types: TypeOptions

  func validate() throws {
    guard top > 0 else { throw ValidationError("--top takes at least 1") }
  }

  func run() throws {
    let types = try self.types.parsed()
    guard let bytes = contents(of: file == "-" ? "/dev/stdin" : file) else {
      throw Failure.system("\(escaped(file)) cannot be read", errno: errno)
    }
    let recording = try Recording(file: bytes, title: escaped(file))
    let summary = OnCPU(recording), naming = ValueNames(recording, types)
    if let svg {
      var picture = try ReplacedFile(svg)
      try picture.write(RecordingPicture.draw(recording, summary, naming).svg)
      try picture.finish()
    }
    show(recording, summary, naming, types)
  }

  private func show(_ recording: Recording, _ summary: OnCPU, _ naming: ValueNames, _ types: ValueTypes) {
    switch json ? .json : format {
    case .table: output(lines: RecordingText.lines(recording, summary, naming, most: top, limit: outputWidth()))
    case .json: output(RecordingJSON.report(recording, summary, types).serialized)
    case .trace: RecordingTrace.write(recording, naming) { output($0) }
    }
  }
}
