// SPDX-License-Identifier: GPL-2.0-or-later
// What is wrong with a command line, for people: the word that is not known, and the one that was probably meant.
#pragma once

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace usage {

inline constexpr int kWrong = 64;  // EX_USAGE: the exit status of a command line that cannot work

// Levenshtein's distance.
inline size_t distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
            diagonal = above;
        }
    }
    return row[b.size()];
}

// The known word that is nearest to this one; empty if none is near.
inline std::string nearest(const std::string& word, const std::vector<std::string>& known) {
    std::string best;
    size_t least = std::max<size_t>(2, word.size() / 3) + 1;
    for (const std::string& k : known)
        if (size_t d = distance(word, k); d < least) {
            least = d;
            best = k;
        }
    return best;
}

inline std::string unknown(const char* what, const std::string& word, const std::vector<std::string>& known) {
    const std::string near = nearest(word, known);
    return fmt::format("there is no {} '{}'{} There are: {}", what, word, near.empty() ? "." : fmt::format(": did you mean '{}'?", near), fmt::join(known, ", "));
}

inline std::vector<std::string> options_of(const CLI::App& app) {
    std::vector<std::string> out;
    for (const CLI::Option* o : app.get_options())
        for (const std::string& name : o->get_lnames()) out.push_back("--" + name);
    return out;
}

// A parse error in one line. CLI11's own text serves where no word is unknown.
inline std::string explain(const CLI::App& app, const CLI::ParseError& e) {
    const std::vector<CLI::App*> commands = app.get_subcommands();  // those that were given
    const std::vector<std::string> left = app.remaining(true);
    auto extra = std::find_if(left.begin(), left.end(), [](const std::string& w) { return w != "--"; });
    if (extra == left.end()) return e.what();
    if (extra->rfind('-', 0) == 0) {
        std::vector<std::string> known = options_of(app);
        for (const CLI::App* c : commands)
            for (std::string& o : options_of(*c)) known.push_back(std::move(o));
        std::sort(known.begin(), known.end());
        known.erase(std::unique(known.begin(), known.end()), known.end());
        return unknown("option", extra->substr(0, extra->find('=')), known);
    }
    if (!commands.empty()) return fmt::format("'{}' is one word too many for '{}'", *extra, commands.front()->get_name());
    std::vector<std::string> known;
    for (const CLI::App* c : app.get_subcommands([](const CLI::App*) { return true; })) known.push_back(c->get_name());
    return known.empty() ? fmt::format("'{}' is one word too many", *extra) : unknown("command", *extra, known);
}

// Says what is wrong, or what was asked for (--help, --version); the exit status.
inline int exit(const CLI::App& app, const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    fmt::print(stderr, "{}: {} (try {} --help)\n", app.get_name(), explain(app, e), app.get_name());
    return kWrong;
}

}  // namespace usage
