// own_address.c: where a job listens, for programs that have no setting for it. tflbt/distributed/hosts.py compiles it once, and the
// launchers preload it (LD_PRELOAD) where that is needed:
// - TFLBT_PRELOAD_BIND=loopback: what would listen on every interface listens on loopback. For mpirun, whose ranks run without it.
// - TFLBT_PRELOAD_ADDRESS=10.9.0.1: the name of this host means that address. Horovod 0.28 makes its Gloo connections on the address of the
//   host's name, whatever the interface it was told, and crashes where that name is not known.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int bind(int fd, const struct sockaddr *address, socklen_t length) {
  static int (*system_bind)(int, const struct sockaddr *, socklen_t);
  if (!system_bind) *(void **)&system_bind = dlsym(RTLD_NEXT, "bind");
  if (!getenv("TFLBT_PRELOAD_BIND")) return system_bind(fd, address, length);
  if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
    struct sockaddr_in local = *(const struct sockaddr_in *)address;
    if (local.sin_addr.s_addr == htonl(INADDR_ANY)) local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return system_bind(fd, (struct sockaddr *)&local, sizeof local);
  }
  if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
    struct sockaddr_in6 local = *(const struct sockaddr_in6 *)address;
    if (IN6_IS_ADDR_UNSPECIFIED(&local.sin6_addr)) local.sin6_addr = in6addr_loopback;
    return system_bind(fd, (struct sockaddr *)&local, sizeof local);
  }
  return system_bind(fd, address, length);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  static int (*system_getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
  const char *address = getenv("TFLBT_PRELOAD_ADDRESS");
  char own[HOST_NAME_MAX + 1] = "";
  if (!system_getaddrinfo) *(void **)&system_getaddrinfo = dlsym(RTLD_NEXT, "getaddrinfo");
  if (node && address && !gethostname(own, HOST_NAME_MAX) && !strcmp(node, own)) node = address;
  return system_getaddrinfo(node, service, hints, result);
}
