#!/bin/bash
# build.sh: builds all that a cluster needs into $KUBE_DIR/bin. What is there already, in
# the pinned version, is left alone. Debian's packages are for scripts/setup.sh.
. "$(dirname "$0")/lib.sh"

start=$SECONDS
need go=golang etcd=etcd-server runc=runc nft=nftables openssl=openssl
mkdir -p "$bin"

# build MODULE_DIR PACKAGE NAME STAMP [LDFLAGS] builds unless NAME has that stamp.
build() {
	local stamp="$bin/.$3"
	[ -x "$bin/$3" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$4" ] && return
	local began=$SECONDS
	(cd "$kit/$1" && CGO_ENABLED=0 nice go build -trimpath -ldflags "-s -w ${5-}" -o "$bin/$3" "$2")
	echo "$4" >"$stamp"
	echo "built $3 ($((SECONDS - began)) s)"
}

# stamp DIR... is a digest of source folders and of the compiler's version.
stamp() { (cd "$kit" && { go version; find "$@" -name '*.go' -o -name 'go.*' | sort | xargs cat; } | sha256sum | cut -c1-16); }

# pinned MODULE_DIR MODULE VERSION checks versions.sh against go.mod.
pinned() { grep -qE "^\s*(require )?$2 $3( |\$)" "$kit/$1/go.mod" || fail "$1/go.mod does not say $2 $3"; }

pinned hyperkube k8s.io/kubernetes "$KUBERNETES"
pinned runtime github.com/containerd/containerd/v2 "$CONTAINERD"
pinned runtime github.com/containernetworking/plugins "$CNI_PLUGINS"
pinned dns github.com/coredns/coredns "$COREDNS"

minor=${KUBERNETES#v1.}
version=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	version+=" -X $package.gitVersion=$KUBERNETES -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
	version+=" -X $package.gitTreeState=clean -X $package.gitCommit=module -X $package.buildDate=1970-01-01T00:00:00Z"
done

for helper in far image pause runcwrap probe; do
	build . "./cmd/$helper" "$helper" "$(stamp "cmd/$helper" go.mod)"
done
runtime=$(stamp runtime)
for command in containerd containerd-shim-runc-v2 ctr; do
	build runtime "github.com/containerd/containerd/v2/cmd/$command" "$command" "$runtime" \
		"-X github.com/containerd/containerd/v2/version.Version=$CONTAINERD"
done
for plugin in main/ptp main/loopback ipam/host-local; do
	build runtime "github.com/containernetworking/plugins/plugins/$plugin" "${plugin#*/}" "$runtime" \
		"-X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=$CNI_PLUGINS"
done
build hyperkube . hyperkube "$(stamp hyperkube)" "$version"
build dns . coredns "$(stamp dns)" "-X github.com/coredns/coredns/coremain.GitCommit=$COREDNS"
for component in kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubelet kubectl; do
	ln -sf hyperkube "$bin/$component"
done
mkdir -p "$KUBE_DIR/images"
if [ ! -s "$KUBE_DIR/images/pause.tar" ] || [ "$bin/pause" -nt "$KUBE_DIR/images/pause.tar" ]; then
	"$kit/image.sh" kube.test/pause:1 "$bin/pause" >"$KUBE_DIR/images/pause.tar"
fi
echo "ready in $bin after $((SECONDS - start)) s"
