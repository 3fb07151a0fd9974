# make           build/ngx_http_llm_module.so against the installed nginx
# make run       installs the packages and starts the gateway on PORT (8080);
#                CONF=FILE for another configuration
# make fleet     two gateways and the Redis they share, with a simulator
# make test      everything, through prove; T=t/stream.t for one file
#
# make sanitize  the same under the address and undefined behaviour sanitizers
# make valgrind  the same under valgrind's memcheck
# make fuzz      FUZZ_SECONDS for each fuzzer of the codec room (clang)
# make fuzz-wire  FUZZ_WIRE_SECONDS (600) of mutated messages on the wire
# make fresh     'run' and 'test' on a fresh Debian 12, in a chroot (root)
# make soak      SOAK_MINUTES of mixed load; memory and descriptors stay flat
# make image-test   what docker/Dockerfile says, in chroots, without Docker
#
# make key       a new key for llm_keys, and its hash
# make deps      install the Debian packages for run and test
# make install   copy the module to nginx's modules path (DESTDIR=...)
# make clean
#
# make NGINX_SRC=DIR   build against another version's source tree

ROOT := $(CURDIR)
B    := $(ROOT)/build

NGINX_SRC ?= /usr/share/nginx/src
JOBS      ?= $(shell nproc)

# another make: parallel, unless this one already runs with -j
AGAIN = $(MAKE) --no-print-directory \
    $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

# V=1 shows the commands of nginx's own rules
QUIET = $(if $(V),,-s)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all FORCE

all: $(B)/ngx_http_llm_module.so $(B)/ngx_http_llm_simulator_module.so


# Packages.  A library is needed once a source includes it, as in config.

uses = $(shell grep -rlsE '^.include <$(1)' module include | head -1)

PACKAGES_BUILD := gcc libc6-dev make libssl-dev libpcre2-dev zlib1g-dev \
    $(if $(call uses,hiredis/),libhiredis-dev) \
    $(if $(call uses,jansson.h),libjansson-dev)

ifeq ($(NGINX_SRC),/usr/share/nginx/src)
PACKAGES_BUILD += nginx nginx-dev
endif

PACKAGES_RUN  := nginx ca-certificates curl
PACKAGES_TEST := nginx perl openssl redis-server

installed = $(shell dpkg-query -f '$${Package} $${db:Status-Status}\n' \
    -W $(1) 2>/dev/null | sed -n 's/ installed$$//p')
missing   = $(if $(shell command -v dpkg-query), \
    $(filter-out $(call installed,$(1)),$(sort $(1))))

.PHONY: deps deps-build deps-run deps-test packages

deps: deps-run deps-test

deps-build: PACKAGES = $(PACKAGES_BUILD)
deps-run: PACKAGES = $(PACKAGES_BUILD) $(PACKAGES_RUN)
deps-test: PACKAGES = $(PACKAGES_BUILD) $(PACKAGES_TEST)

deps-build deps-run deps-test:
	@t/tools/install-packages.sh $(call missing,$(PACKAGES))

packages: lacking = $(strip $(call missing,$(PACKAGES_BUILD)))
packages:
	@$(if $(lacking),echo "missing Debian packages: $(lacking)"; \
	    echo "'make deps' installs them"; exit 1,:)


# The modules.  nginx's configure writes the rules to compile and link them;
# it runs again when the list of sources or what they link changes.

SOURCES := $(shell find module t/simulator t/caller -name '*.c')
HEADERS := $(shell find include module t/simulator -name '*.h')
CONFIGS := config t/simulator/config t/caller/config $(wildcard module/lua/*.lua)

OPTIONS := --with-compat --with-http_ssl_module --with-http_v2_module \
    --with-threads

# the hardening flags of Debian's packages where there are any
CFLAGS_MODULE  := $(or $(shell dpkg-buildflags --get CFLAGS 2>/dev/null), \
    -g -O2) $(shell dpkg-buildflags --get CPPFLAGS 2>/dev/null)
LDFLAGS_MODULE := $(shell dpkg-buildflags --get LDFLAGS 2>/dev/null)

$(B)/inputs: FORCE
	@mkdir -p $(B)
	@echo $(sort $(SOURCES) $(HEADERS)) $(NGINX_SRC) \
	    $(filter lib%-dev,$(PACKAGES_BUILD)) > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(B)/module/objs/Makefile: $(B)/inputs $(CONFIGS) \
        $(NGINX_SRC)/src/core/nginx.h | packages
	@echo "configuring against $(NGINX_SRC)"
	@t/tools/nginx-configure.sh $(NGINX_SRC) $(B)/module $(OPTIONS) \
	    --with-cc-opt="$(CFLAGS_MODULE)" \
	    --with-ld-opt="$(LDFLAGS_MODULE)" \
	    --add-dynamic-module=$(ROOT) \
	    --add-dynamic-module=$(ROOT)/t/simulator \
	    --add-dynamic-module=$(ROOT)/t/caller

$(B)/%.so: $(B)/module/objs/Makefile $(SOURCES) $(HEADERS)
	@+$(AGAIN) $(QUIET) -C $(B)/module/src \
	    -f $(B)/module/objs/Makefile $(B)/module/objs/$*.so
	@install -m 644 $(B)/module/objs/$*.so $@
	@echo "built $@"

# a missing nginx-dev is named by 'packages'
$(NGINX_SRC)/src/core/nginx.h: | packages
	@test -f $@ || { echo "$(NGINX_SRC) is no nginx source"; exit 1; }


.PHONY: key

key:
	@key=sk-$$(openssl rand -hex 24); echo "key:    $$key"; \
	    echo "sha256: $$(printf %s $$key | sha256sum | cut -d' ' -f1)"


.PHONY: run

PORT ?= 8080

run: deps-run
	@+$(AGAIN) all
	@exec t/tools/run.sh $(B) $(PORT) $(CONF)


.PHONY: fleet

fleet: PACKAGES = redis-server $(PACKAGES_BUILD) $(PACKAGES_RUN)
fleet:
	@t/tools/install-packages.sh $(call missing,$(PACKAGES))
	@+$(AGAIN) all
	@exec t/tools/fleet.sh $(B) $(PORT)


# Unit tests: the codec room, compiled without nginx.

CODEC := $(patsubst module/codec/%,%,$(wildcard module/codec/*/*.c))
UNITS := $(notdir $(basename $(wildcard t/unit/*.c)))

CODEC_FLAGS := -std=gnu11 -W -Wall -Wpointer-arith -Wno-unused-parameter \
    -Werror -g -DNGX_LLM_STANDALONE -Iinclude \
    $(patsubst %/,-I%,$(sort $(dir $(wildcard module/codec/*.h \
    module/codec/*/*.h))))

# units FOLDER,FLAGS
define units
$(1)/%: t/unit/%.c $(wildcard t/unit/*.h) $(CODEC:%.c=$(1)/codec/%.o)
	$(CC) $(CODEC_FLAGS) $(2) -It/unit -o $$@ $$(filter %.c %.o,$$^) -lm

$(1)/codec/%.o: module/codec/%.c $(HEADERS) | packages
	@mkdir -p $$(@D)
	$(CC) $(CODEC_FLAGS) $(2) -c -o $$@ $$<
endef

$(eval $(call units,$(B)/unit,-O2))


# Tests.  The kit in t/lib reads where nginx and the modules are from LLM_*.

# prove FOLDER: T or everything, with the unit tests of that folder
prove = prove -j$(JOBS) -It/lib $(PROVE_FLAGS) $(if $(T), \
    $(patsubst t/unit/%.c,$(1)/%,$(T)), \
    $(sort $(wildcard t/*.t)) $(sort $(UNITS:%=$(1)/%)))

.PHONY: test check

test: deps-test
	@+$(AGAIN) check

# 'test' without the installation
check: all $(B)/ngx_http_llm_caller_module.so $(UNITS:%=$(B)/unit/%)
	LLM_BUILD=$(B) $(call prove,$(B)/unit)


# The whole of nginx with both modules linked into it, for tools that want to
# see all of it: each block of a pool is an allocation of its own.

FULL_SRC := $(if $(wildcard $(NGINX_SRC)/src/core/nginx.c),$(NGINX_SRC), \
    $(B)/src/nginx)

FULL_OPTIONS := --with-compat --with-debug --with-threads $(patsubst \
    %,--with-http_%_module,ssl v2 auth_request realip stub_status gunzip \
    gzip_static sub slice addition secure_link)

PALLOC         := -DNGX_DEBUG_PALLOC=1 -g -O1
SANITIZE_FLAGS := -fsanitize=address,undefined -fno-omit-frame-pointer

.PHONY: nginx-src

nginx-src: $(FULL_SRC)/src/core/nginx.c

$(B)/src/nginx/src/core/nginx.c:
	@mkdir -p $(B)
	@t/tools/nginx-source.sh $(B)/src > $(B)/src.log 2>&1 \
	    || { cat $(B)/src.log; exit 1; }

# full NAME,CFLAGS,LDFLAGS
define full
$(B)/$(1)/objs/Makefile: $(B)/inputs $(CONFIGS) \
        $(FULL_SRC)/src/core/nginx.c | packages
	@echo "configuring $(1) with $(FULL_SRC)"
	@t/tools/nginx-configure.sh $(FULL_SRC) $(B)/$(1) $(FULL_OPTIONS) \
	    --with-cc-opt="$(2)" --with-ld-opt="$(3)" \
	    --add-module=$(ROOT) --add-module=$(ROOT)/t/simulator \
	    --add-module=$(ROOT)/t/caller

$(B)/$(1)/nginx: $(B)/$(1)/objs/Makefile $(SOURCES) $(HEADERS)
	@+$$(AGAIN) $(QUIET) -C $(B)/$(1)/src \
	    -f $(B)/$(1)/objs/Makefile binary
	@install $(B)/$(1)/objs/nginx $$@
	@echo "built $$@"
endef

$(eval $(call full,sanitize,$(PALLOC) $(SANITIZE_FLAGS),$(SANITIZE_FLAGS)))
$(eval $(call full,debug,$(PALLOC)))

$(eval $(call units,$(B)/sanitize/unit,-O1 $(SANITIZE_FLAGS) \
    -fno-sanitize-recover=undefined))

.PHONY: sanitize valgrind check-sanitize check-valgrind

sanitize: deps-test
	@+$(AGAIN) check-sanitize

# The kit finds the reports in what nginx logs.
check-sanitize: all $(B)/sanitize/nginx $(UNITS:%=$(B)/sanitize/unit/%)
	LLM_BUILD=$(B) LLM_STATIC=1 LLM_NGINX=$(B)/sanitize/nginx LLM_SLOW=3 \
	    LSAN_OPTIONS=suppressions=$(ROOT)/t/lsan.supp:print_suppressions=0 \
	    UBSAN_OPTIONS=suppressions=$(ROOT)/t/ubsan.supp \
	    LLM_WRAP=$(ROOT)/t/tools/sanitize.sh $(call prove,$(B)/sanitize/unit)

valgrind: PACKAGES = valgrind $(PACKAGES_BUILD) $(PACKAGES_TEST)
valgrind:
	@t/tools/install-packages.sh $(call missing,$(PACKAGES))
	@+$(AGAIN) check-valgrind

VALGRIND := valgrind -q --trace-children=yes --leak-check=full \
    --show-leak-kinds=definite --errors-for-leak-kinds=definite \
    --suppressions=$(ROOT)/t/valgrind.supp --log-file=$(B)/valgrind/%p

# Each process has its own report; one that is not empty is an error.
check-valgrind: all $(B)/debug/nginx $(UNITS:%=$(B)/unit/%)
	@rm -rf $(B)/valgrind && mkdir -p $(B)/valgrind
	@LLM_BUILD=$(B) LLM_STATIC=1 LLM_NGINX=$(B)/debug/nginx LLM_SLOW=10 \
	    LLM_WRAP="$(VALGRIND)" $(call prove,$(B)/unit); status=$$?; \
	reports=$$(find $(B)/valgrind -type f -size +0); \
	test -z "$$reports" || { head -n 60 $$reports; exit 1; }; \
	exit $$status


# Fuzzers of the codec room.  What one learns stays in build/fuzz/NAME.corpus.

FUZZERS      := $(notdir $(basename $(wildcard t/fuzz/*.c)))
FUZZ_SECONDS ?= 60
FUZZ_FLAGS   := -O1 -fsanitize=fuzzer,address,undefined \
    -fno-sanitize-recover=undefined

.PHONY: fuzz deps-clang

$(B)/fuzz/%: t/fuzz/%.c $(CODEC:%=module/codec/%) $(HEADERS)
	@mkdir -p $(@D)
	clang $(CODEC_FLAGS) $(FUZZ_FLAGS) -o $@ $(filter %.c,$^)

# The package of the runtime has clang's major version in its name, so that
# clang is installed first.
deps-clang:
	@t/tools/install-packages.sh $(call missing,clang libc6-dev)

fuzz: PACKAGES = libclang-rt-$(shell clang -dumpversion | cut -d. -f1)-dev
fuzz: deps-clang
	@t/tools/install-packages.sh $(call missing,$(PACKAGES))
	@+$(AGAIN) $(FUZZERS:%=$(B)/fuzz/%)
	@failed=; \
	for name in $(FUZZERS); do \
	    mkdir -p $(B)/fuzz/$$name.corpus; \
	    $(B)/fuzz/$$name -max_total_time=$(FUZZ_SECONDS) -verbosity=0 \
	        -print_final_stats=1 -artifact_prefix=$(B)/fuzz/$$name- \
	        $(B)/fuzz/$$name.corpus > $(B)/fuzz/$$name.log 2>&1 \
	        || { cat $(B)/fuzz/$$name.log; failed="$$failed $$name"; }; \
	    echo "$$name: $$(grep executed_units $(B)/fuzz/$$name.log)"; \
	done; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }


# Mutated requests, responses and Redis replies against the sanitizer build.
# SEED, BATCH and CASE replay a failure, see t/fuzz/wire/run.

FUZZ_WIRE_SECONDS ?= 600

.PHONY: fuzz-wire check-fuzz-wire

fuzz-wire: deps-test
	@+$(AGAIN) check-fuzz-wire

check-fuzz-wire: all $(B)/sanitize/nginx
	@mkdir -p $(B)/fuzz-wire
	@LLM_BUILD=$(B) LLM_STATIC=1 LLM_NGINX=$(B)/sanitize/nginx LLM_SLOW=3 \
	    LSAN_OPTIONS=suppressions=$(ROOT)/t/lsan.supp:print_suppressions=0 \
	    UBSAN_OPTIONS=suppressions=$(ROOT)/t/ubsan.supp \
	    LLM_WRAP=$(ROOT)/t/tools/sanitize.sh SEED=$(SEED) \
	    BATCH=$(BATCH) CASE=$(CASE) FUZZ_WIRE_OUT=$(B)/fuzz-wire \
	    FUZZ_WIRE_SECONDS=$(FUZZ_WIRE_SECONDS) t/fuzz/wire/run


# A long mixed load: what it leaves behind.

SOAK_MINUTES ?= 10

.PHONY: soak

soak: all
	@LLM_BUILD=$(B) t/soak/run --minutes $(SOAK_MINUTES)


.PHONY: fresh image-test

fresh:
	@t/fresh-machine.sh

image-test:
	@t/image.sh


.PHONY: install clean

install: all
	@path=$$(PATH=$$PATH:/usr/sbin nginx -V 2>&1 | tr ' ' '\n' | sed -n 's/^--modules-path=//p'); \
	test -n "$$path" || path=/usr/local/nginx/modules; \
	install -d "$(DESTDIR)$$path"; \
	install -m 644 $(B)/ngx_http_llm_module.so "$(DESTDIR)$$path"; \
	echo "installed $(DESTDIR)$$path/ngx_http_llm_module.so"

clean:
	rm -rf $(B)
