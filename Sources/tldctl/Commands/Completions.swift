// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl completions: what a shell wants to know of the commands.

import ArgumentParser

struct Completions: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print a completion script for a shell.",
    discussion: "make install puts them where the shells look.")

  enum Shell: String, ExpressibleByArgument, CaseIterable {
    case bash, zsh, fish

    var known: CompletionShell {
      switch self {
      case .bash: .bash
      case .zsh: .zsh
      case .fish: .fish
      }
    }
  }

  @Argument(help: "bash, zsh or fish.")
  var shell: Shell

  func run() {
    output(Tldctl.completionScript(for: shell.known) + "\n")
  }
}
