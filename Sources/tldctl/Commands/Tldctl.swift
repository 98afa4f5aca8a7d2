// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl, the command: its subcommands, and the one way in which it ends.

import ArgumentParser
import TldctlKernel
import Glibc
import TldctlModel

struct Tldctl: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tldctl",
    abstract: "Look inside task local data: who publishes, and what it says.",
    discussion: """
      Exit status: 0 good; 1 failed; 3 no such process, thread, map or name; 4 no permission; \
      5 the kernel cannot; 64 wrong use.
      """,
    version: "tldctl \(String(cString: ctldctl_version())), libbpf \(String(cString: ctldctl_libbpf_version()))",
    // One a file; a new command is added here.
    subcommands: [
      List.self, Get.self, SetValue.self, Maps.self, MapCommand.self, Doctor.self,
      Watch.self, Record.self, Report.self, Completions.self,
    ])
}

@main
enum Main {
  static func main() {
    do {
      var command = try Tldctl.parseAsRoot(withNegativeNumberLast(Array(CommandLine.arguments.dropFirst())))
      try command.run()
    } catch {
      end(with: error)
    }
  }

  /// Everything on stderr begins with "tldctl: ", and nothing is a stack trace.
  private static func end(with error: Error) -> Never {
    if let failure = error as? Failure {
      complain(failure.message)
      exit(failure.status.rawValue)
    }
    if let ending = error as? ExitStatus {
      exit(ending.rawValue)
    }
    let message = Tldctl.fullMessage(for: error)
    guard Tldctl.exitCode(for: error).rawValue != 0 else {
      output(message + "\n")
      exit(0)
    }
    complain(message.hasPrefix("Error: ") ? String(message.dropFirst(7)) : message)
    exit(Tldctl.exitCode(for: error).rawValue)
  }
}

/// For commands that said all there is to say, and end with another status than 0.
extension ExitStatus: Error {}
