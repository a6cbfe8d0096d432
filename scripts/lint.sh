#!/bin/sh
# lint.sh runs the few linters that there are. None is advisory.
set -eu
cd "$(dirname "$0")/.."
status=0

unformatted=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
if [ -n "$unformatted" ]; then
	echo "not gofmt'ed:" $unformatted
	status=1
fi
go vet ./... || status=1
go vet -tags bench,kube,oracle,soak,update ./... || status=1
go tool staticcheck ./... || status=1
if command -v codespell >/dev/null; then
	git ls-files -z '*.go' '*.c' '*.h' '*.md' '*.sh' Makefile ':!test/corpus' |
		xargs -0 codespell -L "$(paste -sd, scripts/words.txt)" || status=1
fi
for script in scripts/*.sh .ci/run; do
	case $(head -n 1 "$script") in
	*bash*) bash -n "$script" || status=1 ;;
	*) sh -n "$script" || status=1 ;;
	esac
done
exit $status
