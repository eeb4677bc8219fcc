// Compares versions as Go and Alpine order them: a line "go A B" or "apk A B" gives -1, 0, 1, or "none" where one is no version.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	apk "github.com/knqyf263/go-apk-version"
	"golang.org/x/mod/semver"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		fmt.Fprintln(out, compare(words[0], words[1], words[2]))
	}
}

func compare(kind, a, b string) string {
	if kind == "go" {
		if !semver.IsValid(a) || !semver.IsValid(b) {
			return "none"
		}
		return fmt.Sprint(semver.Compare(a, b))
	}
	x, err := apk.NewVersion(a)
	if err != nil {
		return "none"
	}
	y, err := apk.NewVersion(b)
	if err != nil {
		return "none"
	}
	return fmt.Sprint(x.Compare(y))
}
