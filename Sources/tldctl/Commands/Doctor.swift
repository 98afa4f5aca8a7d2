// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl doctor: whether hints can work here, tried and not guessed, and what to do if not.

import ArgumentParser
import TldctlKernel
import Glibc
import TldctlModel

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check whether hints can work here, and say what to do if not.",
    discussion: "Works without privileges, with what it may see then. Exit status 0 if hints can work here.")

  @OptionGroup var output: OutputOptions

  func run() throws {
    let checks = Check.all()
    let essential = checks.filter(\.isEssential)
    let status: ExitStatus =
      essential.contains { $0.verdict == .no }
      ? .kernelCannot : essential.contains { $0.verdict == .unknown } ? .noPermission : .good
    if output.json {
      let json = JSON.object([
        ("command", .string("doctor")), ("version", .integer(1)), ("works", .bool(status == .good)),
        ("checks", .array(checks.map(\.json))),
      ])
      tldctl.output(json.serialized)
    } else {
      show(checks, status)
    }
    if status != .good { throw status }
  }

  private func show(_ checks: [Check], _ status: ExitStatus) {
    let limit = outputWidth()
    for check in checks {
      let mark = check.verdict.mark
      let shown = check.verdict == .yes ? output.good(mark) : check.verdict == .no ? output.bad(mark) : output.warning(mark)
      tldctl.output(shown + cut(" \(check.title): \(check.text)", to: limit.map { $0 - mark.count }) + "\n")
      // What to do is never cut.
      if !check.advice.isEmpty { tldctl.output("          \(check.advice)\n") }
    }
    switch status {
    case .good: tldctl.output("Hints can work here.\n")
    case .noPermission: tldctl.output("Hints may work here: run this as root to know.\n")
    default: tldctl.output("Hints cannot work here.\n")
    }
  }
}

enum Verdict: String {
  case yes, no, unknown, info

  var mark: String {
    switch self {
    case .yes: "[yes]    "
    case .no: "[no]     "
    case .unknown: "[unknown]"
    case .info: "[info]   "
    }
  }
}

struct Check {
  /// Stable, for JSON.
  let name: String
  let title: String
  let verdict: Verdict
  let text: String
  var advice = ""
  /// Without it nothing works, whoever tries.
  var isEssential = false

  var json: JSON {
    .object([
      ("name", .string(name)), ("verdict", .string(verdict.rawValue)), ("essential", .bool(isEssential)),
      ("text", .string(text)), ("advice", advice.isEmpty ? .null : .string(advice)),
    ])
  }

  static func all() -> [Check] {
    [
      kernel(), uptr(), pidfdThread(), btf(), program(), bpffs(), unprivileged(), schedExt(), capabilities(),
      seccomp(), pageSize(), memlock(), library(),
    ]
  }
}
